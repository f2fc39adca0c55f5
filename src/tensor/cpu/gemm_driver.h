#pragma once

#include <cstddef>
#include <span>

#include "tensor/cpu/gemm_epilogue.h"
#include "tensor/cpu/micro_kernel.h"
#include "tensor/cpu/narrow_panels.h"

namespace fledge::tensor::cpu {

/// A further product whose sums join those of the main one: a [M, R] times b [R, N], packed whole.
struct Term {
  MatrixView a;
  const std::byte* packed_b;
};

/// One matrix product for one micro-kernel: a [M, K] times b [K, N], where b is a view, or was packed whole.
struct Product {
  MatrixView a;
  MatrixView b;                         ///< its shape always; its elements where it was packed in neither form
  const std::byte* packed_b = nullptr;  ///< panels of all N columns, each with the whole depth
  TileEpilogue epilogue;
  std::span<const Term> terms = {};
  NarrowPanels narrow_b = {};  ///< the same panels made narrow
};

/// Packs all of b [K, N] into ceil(N / columns) panels one after another, in parallel.
void pack_panels(const MicroKernel& kernel, const MatrixView& b, std::byte* packed);

/// Computes the product with every thread. M and N are not 0.
void multiply(const MicroKernel& kernel, const Product& product);

}  // namespace fledge::tensor::cpu
