#pragma once

#include "tensor/cpu/gemm_epilogue.h"
#include "tensor/matmul.h"

namespace fledge::tensor {

/// Throws Error where the operands of out[M, N] = a[M, K] * b[K, N] do not fit each other: everything about a product
/// but the right operand itself. `reference`: a product in f64.
void check_product(const Tensor& a, int64_t depth, int64_t columns, bool reference, const Tensor& out,
                   const Epilogue& epilogue);

/// Throws Error where a term of the epilogue does not fit a product of this precision.
void check_terms(const Epilogue& epilogue, const Tensor& out, bool reference, Precision precision);

/// The same epilogue for kernels, without its terms.
cpu::TileEpilogue tile_epilogue(const Tensor& out, const Epilogue& epilogue);

}  // namespace fledge::tensor
