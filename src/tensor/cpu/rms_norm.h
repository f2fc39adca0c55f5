#pragma once

#include <cstdint>

#include "tensor/cpu/rows.h"

namespace fledge::tensor::cpu {

/// Operands of rms_norm_rows; see tensor/rms_norm.h. x and out are f32 or bf16.
struct RmsNormRows {
  Rows x, out;
  const float* weight;
  float epsilon;
  float* rstd;  ///< [R, H]; may be null unless `again`
  bool again;   ///< read rstd instead of computing it
};

/// Rows [first, last).
void rms_norm_rows(const RmsNormRows& operands, int64_t first, int64_t last);

struct RmsNormBackwardRows {
  Rows x, d_out, d_x;
  Rows d_residual, d_x_activation;  ///< may be null; of the types of d_x and of d_out
  const float* weight;
  const float* rstd;
};

/// Rows [first, last). Adds their part of the gradient of weight to d_weight [columns].
void rms_norm_backward_rows(const RmsNormBackwardRows& operands, int64_t first, int64_t last, float* d_weight);

}  // namespace fledge::tensor::cpu
