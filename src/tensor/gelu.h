#pragma once

#include "tensor/matmul.h"
#include "tensor/tensor.h"

namespace fledge::tensor {

// Gaussian error linear unit (Hendrycks, Gimpel: "Gaussian error linear units (GELUs)", 2016): exact, x * Phi(x), or by
// the paper's approximation with tanh. `form` is gelu_exact or gelu_tanh. Tensors are contiguous, of one shape and one
// element type: f32, bf16 (computed in f32) or f64. f32 results are within 2e-7 + 1e-6 |y| of the true value y.

/// out = gelu(x); out may be x.
void gelu(const Tensor& x, Activation form, Tensor out);

/// d_x = d_out * gelu'(x), and out_again = gelu(x), the same bits as gelu() gives, where defined. d_x may be d_out, and
/// out_again may be x.
void gelu_backward(const Tensor& x, Activation form, const Tensor& d_out, Tensor d_x, Tensor out_again);

}  // namespace fledge::tensor
