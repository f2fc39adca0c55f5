#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// How the rows of a segment become one.
enum class Pooling : uint8_t {
  mean,
  mean_sqrt,  ///< sum / sqrt(number of rows)
  max,
  first
};

/// out[s] = the rows [offsets[s], offsets[s + 1]) of x as one. x [R, C] f32 or f64; offsets [S + 1] i32, rising, from 0
/// or more to R at most, no segment empty; out [S, C] of x's type. Sums of f32 are taken in row order in f32. Throws
/// Error where shapes, types or offsets do not fit.
void pool_rows(const Tensor& x, const Tensor& offsets, Pooling pooling, Tensor out);

/// x[r] /= max(|x[r]|, 1e-12) in the Euclidean norm, summed in f64; x [R, C] f32 or f64.
void normalize_rows(Tensor x);

}  // namespace fledge::tensor
