#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

// Distances between two models' values on the same rows. x and target are contiguous matrices [R, C], each f32 or bf16
// (both f64 for f64); counted i32 [R], or undefined for all rows: rows where it is 0 are left out. The functions return
// the sum over the rows (0 on the meta device). d_x, where it is defined, has x's shape and type and receives the
// gradient times `factor`, zeros in rows that are left out; it may be x itself. Results do not depend on the number of
// threads.

/// Sum of (x - target)^2.
double squared_distance(const Tensor& x, const Tensor& target, const Tensor& counted, double factor, Tensor d_x);

/// Sum over rows of 1 - cosine(x, target). A row whose norm is 0 is at distance 1 and has no gradient.
double cosine_distance(const Tensor& x, const Tensor& target, const Tensor& counted, double factor, Tensor d_x);

}  // namespace fledge::tensor
