#pragma once

#include <span>

#include "tensor/cpu/gemm_epilogue.h"
#include "tensor/cpu/quantized_kernel.h"

namespace fledge::tensor::cpu {

/// One weight's part of a product.
struct QuantizedPart {
  BlockType type;
  int64_t columns;  ///< N
  const std::byte* panels;
  TileEpilogue epilogue;
};

/// The left operand [rows, depth], f32 or bf16, rows `stride` elements apart.
struct ActivationView {
  const void* data;
  DType dtype;
  int64_t rows, depth, stride;
};

/// Packs all panels of a matrix.
void pack_panels(const BlockMatrix& matrix, std::byte* packed);

/// All products of `a`.
void multiply(const QuantizedKernel& kernel, const ActivationView& a, std::span<const QuantizedPart> parts);

}  // namespace fledge::tensor::cpu
