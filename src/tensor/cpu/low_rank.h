#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// Outputs of a block of U, see LowRankPart.
constexpr int64_t kLowRankBlock = 64;
/// Rows that share what is read of the matrices.
constexpr int64_t kLowRankRows = 4;

/// inner[row * rank + r] = sum over i of x[row * x_stride + i] * down[r * inputs + i], for up to kLowRankRows rows.
/// A row's sum does not depend on how many there are.
void low_rank_down(const void* x, DType x_dtype, int64_t x_stride, int64_t rows, int64_t inputs, const void* down,
                   DType down_dtype, int64_t rank, float* inner);

/// out[row * out_stride + o] = sum over r of inner[row * inner_stride + r] * U[r, o], where U stands in blocks
/// [outputs / 64][rank][64].
void low_rank_up(const float* inner, int64_t inner_stride, int64_t rows, int64_t rank, const void* up, DType up_dtype,
                 int64_t outputs, float* out, int64_t out_stride);

}  // namespace fledge::tensor::cpu
