#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/matmul.h"

namespace fledge::tensor::cpu {

/// out = gelu(x) for `count` elements of f32 or bf16.
void gelu(const void* x, DType dtype, Activation form, void* out, int64_t count);
/// d_x = d_out * gelu'(x); out_again = gelu(x) where it is not null.
void gelu_backward(const void* x, DType dtype, Activation form, const void* d_out, void* d_x, void* out_again,
                   int64_t count);

}  // namespace fledge::tensor::cpu
