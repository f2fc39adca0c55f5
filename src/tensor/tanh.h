#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

// Hyperbolic tangent. Tensors are contiguous, of one shape and one element type: f32, bf16 (computed in f32) or f64.
// Meant for small operands, such as a pooler's.

/// out = tanh(x); out may be x.
void tanh(const Tensor& x, Tensor out);

/// d_x = d_out * (1 - out^2), with out = tanh(x); d_x may be d_out.
void tanh_backward(const Tensor& out, const Tensor& d_out, Tensor d_x);

}  // namespace fledge::tensor
