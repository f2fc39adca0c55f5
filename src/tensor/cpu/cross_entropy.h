#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// The greatest element of a row and the sum of e^(element - greatest).
struct Softmax {
  float greatest;
  double sum;
};

/// One reading of a row; NaNs come through in the sum.
Softmax softmax_statistics(const float* row, int64_t columns);

/// out = e^(row - greatest) * factor, of type f32 or bf16; out may be row.
void exponentials(const float* row, int64_t columns, float greatest, float factor, void* out, DType out_dtype);

/// out = (row - greatest) - logarithm; out may be row.
void log_probabilities(const float* row, int64_t columns, float greatest, float logarithm, float* out);

}  // namespace fledge::tensor::cpu
