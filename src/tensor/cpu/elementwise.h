#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

// Kernels on contiguous runs of f32 and bf16 elements, by Highway for the best permitted instruction set. Callers have
// called instruction_set() first.

/// f32, bf16 or f16 to f32 or bf16.
void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count);
void scale(void* data, DType dtype, float factor, int64_t count);
/// out = a + b in f32.
void add(const void* a, DType a_dtype, const void* b, DType b_dtype, void* out, DType out_dtype, int64_t count);
double sum_of_squares(const void* data, DType dtype, int64_t count);
bool all_finite(const void* data, DType dtype, int64_t count);
/// sums[c] = sum over the rows of x [rows, columns], in f32, rows in ascending order.
void column_sums(const void* x, DType dtype, int64_t rows, int64_t columns, float* sums);

}  // namespace fledge::tensor::cpu
