#pragma once

#include "tensor/matmul.h"
#include "tensor/tensor.h"

namespace fledge::tensor::cpu {

/// a [M, K] times b [K, N] in f64, any strides, by the definition: every sum over k in ascending order. Shapes and
/// types have been checked.
void reference_matmul(const Tensor& a, const Tensor& b, Tensor& out, const Epilogue& epilogue);

/// Copies an f64 matrix of any strides into a contiguous one.
void copy_matrix(const Tensor& source, Tensor& target);

}  // namespace fledge::tensor::cpu
