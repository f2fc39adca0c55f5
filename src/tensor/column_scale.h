#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// Backward of y = scale * z, a factor for each column: d_z = d_y * scale; d_scale[c] = sum over r of d_y[r, c] z[r,
/// c], in fixed blocks of rows. d_y, z, d_z [R, C] f32 or bf16 (d_z has d_y's type and may be d_y), scale and d_scale
/// [C] f32; or all f64. Contiguous.
void column_scale_backward(const Tensor& d_y, const Tensor& z, const Tensor& scale, Tensor d_z, Tensor d_scale);

/// out[r] = sum over c of a[r, c] b[r, c]. a, b [R, C] f32 or bf16, out [R] f32; or all f64. The elements of a row
/// stand together.
void row_dots(const Tensor& a, const Tensor& b, Tensor out);

/// out[r, c] = x[r, c] * scale[c]. x, out [R, C] f32 or bf16, of one type, scale [C] f32; or all f64. out may be x.
void scale_columns(const Tensor& x, const Tensor& scale, Tensor out);

// Vectors [C], all f32 or all f64.

/// out = a / b, and 0 where b is 0. out may be a or b.
void divide(const Tensor& a, const Tensor& b, Tensor out);

/// out += weight * (x - 1).
void add_above_one(const Tensor& x, double weight, Tensor out);

/// out = sqrt(base + 2 scale cross + scale^2 squares): the norm of w + scale v, from ||w||^2, <w, v> and ||v||^2.
void low_rank_norms(const Tensor& base, const Tensor& cross, const Tensor& squares, double scale, Tensor out);

}  // namespace fledge::tensor
