#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace fledge::tensor {

// Outputs are handles of tensors that the caller has made; they are passed by value. Every operation throws Error
// "[operation] operand: got ..., expected ..." where shapes or element types do not fit, and does nothing on the meta
// device. Results do not depend on the number of threads.

/// Copies elements between tensors of the same shape, any strides: among f64, f32, bf16 and f16 (rounded to nearest,
/// ties to even), or between equal integer types.
void copy(const Tensor& from, Tensor to);

/// Sets every element; any strides, every element type (integers: the value truncated).
void fill(Tensor t, double value);

/// t *= factor; f64, f32 or bf16, any strides.
void scale(Tensor t, double factor);

/// out = a + b; f32 and bf16 mixed as you like with the sum in f32, or all f64; any strides; out may be a or b.
void add(const Tensor& a, const Tensor& b, Tensor out);

/// target += source, the same types.
void add_into(Tensor target, const Tensor& source);

/// Sum of the squares of a contiguous f64, f32 or bf16 tensor, in f64, over fixed blocks of 4096 elements.
double sum_of_squares(const Tensor& t);

/// No element of a contiguous f64, f32 or bf16 tensor is an infinity or a NaN.
bool all_finite(const Tensor& t);

/// out[c] = (or += with `accumulate`) sum over r of x[r, c]: the gradient of a bias. x [R, C] f32, bf16 or f64; out [C]
/// f32 (f64 for f64). Rows are summed in fixed blocks.
void column_sum(const Tensor& x, Tensor out, bool accumulate);

}  // namespace fledge::tensor
