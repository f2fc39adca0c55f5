#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

// Rows of a table by index. ids [R] i32; table [V, C] P, where P is f32 or f64; tensors are contiguous. An id outside
// [0, V) throws Error naming the id, its place and V, before anything is written.

/// out[r] = table[ids[r]]; out [R, C] P. The table may also be bf16; out is then f32.
void embedding(const Tensor& ids, const Tensor& table, Tensor out);

/// out[r] += table[ids[r]]: a second table, such as positions. The table may also be bf16; out is then f32.
void embedding_add(const Tensor& ids, const Tensor& table, Tensor out);

/// d_table[ids[r]] += d_out[r], in ascending order of r whatever the number of threads. d_out [R, C] P, d_table [V, C]
/// P. Only rows that are named are touched.
void embedding_backward(const Tensor& ids, const Tensor& d_out, Tensor d_table);

}  // namespace fledge::tensor
