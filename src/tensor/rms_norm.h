#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

// Root mean square normalization (Zhang, Sennrich: "Root mean square layer normalization", 2019, equation 4): every row
// of x is divided by its root mean square and multiplied by weight [C]:
//   out = x * rstd * weight,  rstd = 1 / sqrt(mean(x^2) + epsilon).
//
// x is [R, C], or [R, H, C] where each head is a row of its own; any strides with a contiguous last dimension. x and
// out are f32 or bf16 (f64 in reference mode); P, the type of weight and statistics, is f32 (f64 with f64). Outputs are
// handles that the caller has made, and an undefined one is not wanted. Wrong shapes and types throw Error; the meta
// device does nothing.

/// rstd [R] or [R, H] P or undefined. out may be x.
void rms_norm(const Tensor& x, const Tensor& weight, double epsilon, Tensor out, Tensor rstd);

/// The output of rms_norm once more, from its statistics: the same bits.
void rms_norm_again(const Tensor& x, const Tensor& rstd, const Tensor& weight, Tensor out);

/// The gradient. x and rstd as above, d_out of the type of rms_norm's output.
///   d_x, of the type of x = gradient (+ d_residual, also of that type, where defined: the gradient that came round the
///   norm; may be d_x); d_x may be d_out where the types agree;
///   d_x_activation, of the type of d_out, or undefined: d_x rounded, for the next matrix product;
///   d_weight [C] P or undefined: added to. Rows are summed in fixed blocks, whatever the number of threads.
void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& rstd, const Tensor& d_out,
                       const Tensor& d_residual, Tensor d_x, Tensor d_x_activation, Tensor d_weight);

}  // namespace fledge::tensor
