#pragma once

#include <cstdint>

#include "base/random.h"
#include "tensor/tensor.h"

namespace fledge::tensor {

/// Inverted dropout (Srivastava et al.: "Dropout: a simple way to prevent neural networks from overfitting", 2014):
/// element i of x is kept, times 1 / (1 - probability), where the 32-bit random number of position first_element + i is
/// at least probability * 2^32, and is 0 elsewhere. The number of position p is random.block(p / 4)[p % 4], so that
/// the same call on the gradient is the backward pass, and a batch may be cut anywhere. 0 <= probability < 1.
/// x, out: contiguous, one shape and element type (f32, bf16 or f64); out may be x.
void dropout(const Tensor& x, double probability, const base::Random& random, uint64_t first_element, Tensor out);

}  // namespace fledge::tensor
