#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// Sum of the elements of a contiguous f64, f32 or bf16 tensor, one after the other in f64: for losses and other small
/// results. 0 on the meta device.
double sum(const Tensor& t);

/// Sum of the products of the elements of two contiguous f64 or f32 tensors of one shape and type, one after the other
/// in f64. 0 on the meta device.
double dot(const Tensor& a, const Tensor& b);

}  // namespace fledge::tensor
