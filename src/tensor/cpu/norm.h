#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// Operands of layer_norm_rows; see tensor/norm.h. Matrices are contiguous.
struct LayerNormRows {
  int64_t columns;
  const float* x;
  const void* delta;  ///< null: none. Elements of type `activation`
  float* sum;         ///< x + delta, where delta is not null
  const float* weight;
  const float* bias;  ///< may be null
  float epsilon;
  void* out;  ///< elements of type `activation`
  float* mean;
  float* rstd;       ///< both may be null, unless `again`
  bool again;        ///< read mean and rstd instead of computing them
  DType activation;  ///< f32 or bf16
};

/// Rows [first, last).
void layer_norm_rows(const LayerNormRows& operands, int64_t first, int64_t last);

struct LayerNormBackwardRows {
  int64_t columns;
  const float* x;
  const float* weight;
  const float* mean;
  const float* rstd;
  const void* d_out;        ///< elements of type `activation`
  const float* d_residual;  ///< may be null; may be d_x
  float* d_x;
  void* d_x_activation;  ///< may be null; elements of type `activation`
  DType activation;
};

/// Rows [first, last). Adds their part of the gradients of weight and bias to d_weight and d_bias [columns].
void layer_norm_backward_rows(const LayerNormBackwardRows& operands, int64_t first, int64_t last, float* d_weight,
                              float* d_bias);

}  // namespace fledge::tensor::cpu
