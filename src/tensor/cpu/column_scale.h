#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// For rows [first, last) of matrices with `columns` columns: d_z = d_y * scale, and sums[c] = the rows' d_y * z. d_y
/// and d_z have one type; f32 or bf16. d_z may be d_y.
void column_scale_backward(const void* d_y, DType d_y_dtype, const void* z, DType z_dtype, const float* scale,
                           void* d_z, int64_t first, int64_t last, int64_t columns, float* sums);

/// out[i] = x[i] * factors[i]; x and out of one type, f32 or bf16. out may be x.
void multiply(const void* x, DType dtype, const float* factors, void* out, int64_t count);

/// Sum of a[i] * b[i]; f32 or bf16.
float dot(const void* a, DType a_dtype, const void* b, DType b_dtype, int64_t count);

}  // namespace fledge::tensor::cpu
