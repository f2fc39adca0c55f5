#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

// The gated unit of Shazeer, "GLU variants improve transformer", 2020, section 2 (SwiGLU, with beta = 1): silu(gate) *
// up, silu(x) = x / (1 + e^-x). All operands [R, F] of one element type, f32, bf16 (computed in f32) or f64, any row
// stride with contiguous rows, so that gate and up may be the halves of one product.

/// out = silu(gate) * up.
void swiglu(const Tensor& gate, const Tensor& up, Tensor out);

/// d_gate = d_out * up * silu'(gate), d_up = d_out * silu(gate). d_gate may be gate, and d_up may be up.
void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_out, Tensor d_gate, Tensor d_up);

}  // namespace fledge::tensor
