#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

// Layer normalization (Ba, Kiros, Hinton: "Layer normalization", 2016, section 3): every row of x [R, C] is brought to
// mean 0 and (population) variance 1, then multiplied by weight [C] and shifted by bias [C]:
//   out = (x - mean) * rstd * weight + bias,  rstd = 1 / sqrt(variance + epsilon).
//
// P is f32 (or f64 in reference mode): the residual stream, parameters, statistics. A is the activation type: f32 or
// bf16 (f64 with f64). All tensors are contiguous; outputs are handles that the caller has made, and an undefined one
// is not wanted. Wrong shapes and types throw Error; the meta device does nothing.

/// x [R, C] P; weight [C] P; bias [C] P or undefined; out [R, C] A; mean and rstd [R] P or undefined.
void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double epsilon, Tensor out, Tensor mean,
                Tensor rstd);

/// sum = x + delta, out = layer_norm(sum), in one pass. x, sum [R, C] P (sum may be x); delta, out [R, C] A.
void add_layer_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, const Tensor& bias, double epsilon,
                    Tensor sum, Tensor out, Tensor mean, Tensor rstd);

/// The output of layer_norm once more, from its statistics: the same bits.
void layer_norm_again(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight, const Tensor& bias,
                      Tensor out);

/// The gradient. x [R, C] P is layer_norm's input, mean and rstd [R] P its statistics, d_out [R, C] A.
///   d_x [R, C] P = gradient (+ d_residual [R, C] P, where defined: the gradient that came round the norm; may be d_x);
///   d_x_activation [R, C] A or undefined: d_x rounded to A, for the next matrix product;
///   d_weight, d_bias [C] P or undefined: added to. Rows are summed in fixed blocks, whatever the number of threads.
void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& d_out, const Tensor& d_residual, Tensor d_x, Tensor d_x_activation,
                         Tensor d_weight, Tensor d_bias);

}  // namespace fledge::tensor
