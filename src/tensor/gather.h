#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// Lists the rows whose target is not negative, in ascending order, and their targets. targets i32 [R]; rows and kept
/// i32 [R] receive as many entries as the function returns. On the meta device every row is kept.
int64_t compact_targets(const Tensor& targets, Tensor& rows, Tensor& kept);

/// out[n, C] = x[rows[n], C] for rows i32 [N]; any element type, contiguous rows. Indices must lie within x.
void gather_rows(const Tensor& x, const Tensor& rows, Tensor& out);

/// out[rows[n], C] = x[n, C], zero elsewhere. The rows must differ from each other.
void scatter_rows(const Tensor& x, const Tensor& rows, Tensor& out);

}  // namespace fledge::tensor
