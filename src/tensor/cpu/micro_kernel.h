#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tensor/cpu/gemm_epilogue.h"
#include "tensor/cpu/gemm_functions.h"
#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// A matrix in memory that a packing function reads: element (row, column) stands at
/// data + row * row_stride + column * column_stride, strides in elements, dtype f32 or bf16.
struct MatrixView {
  const void* data;
  DType dtype;
  int64_t rows, columns;
  int64_t row_stride, column_stride;

  /// Some rows and columns.
  MatrixView part(int64_t row, int64_t part_rows, int64_t column, int64_t part_columns) const {
    const int64_t offset = row * row_stride + column * column_stride;
    return {static_cast<const std::byte*>(data) + offset * static_cast<int64_t>(size_of(dtype)),
            dtype,
            part_rows,
            part_columns,
            row_stride,
            column_stride};
  }
  MatrixView transposed() const { return {data, dtype, columns, rows, column_stride, row_stride}; }
};

/// Most elements of any kernel's tile.
constexpr int64_t kMaximumTile = 32 * 32;

/// How a kernel's panels of B are made narrow and wide again, see narrow_panels.h.
struct NarrowKernel {
  FindBasesFunction* find_bases;
  NarrowFunction* narrow;
  WidenFunction* widen;
  MultiplyNarrowFunction* multiply;  ///< for up to few_rows rows
};

/// One instruction set's blocks for products of panels: C (f32) = or += A-panel * B-panel.
///
/// A left operand [M, K] is packed into ceil(M / rows) panels, a right operand [K, N] into ceil(N / columns) panels.
/// K is padded with zeros to a multiple of `depth_unit` (padded K), rows and columns with zeros to whole panels, so
/// that multiply() always computes a full tile and writes only the part that was asked for. Every element of C is the
/// sum over k in ascending order, the same at every position of a tile: results do not depend on M or N.
struct MicroKernel {
  std::string_view name;  ///< "avx512_f32", "amx_bf16", ...
  DType arithmetic;       ///< f32: operands as they are; bf16: rounded to bf16
  DType a_operand;        ///< element type of packed panels of A: f32 or bf16
  DType b_operand;        ///< and of B
  int64_t rows;           ///< MR
  int64_t columns;        ///< NR
  int64_t depth_unit;     ///< 1 for f32, 2 or 32 for bf16
  int64_t depth_block;    ///< longest depth that panels are packed for at once
  int64_t depth_step;     ///< longest depth of one multiply(), so that its panels stay in the L1 cache

  /// One panel of each operand. `source` has at most `rows` rows (pack_a) or `columns` columns (pack_b); `panel`
  /// receives rows * padded K (pack_a) or padded K * columns (pack_b) elements.
  void (*pack_a)(const MatrixView& source, void* panel);
  void (*pack_b)(const MatrixView& source, void* panel);

  /// c[used_rows, used_columns] (row stride `c_stride`, f32), over `depth` (a multiple of depth_unit).
  void (*multiply)(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                   int64_t used_rows, int64_t used_columns, bool accumulate);

  /// What a thread calls when it has no more to multiply for now (multiply() takes what it needs by itself). Null: no
  /// need.
  void (*release)() = nullptr;
  /// A faster way to store finished sums as bf16, or null.
  StoreBf16Function* store_bf16 = nullptr;
  /// For products of up to `few_rows` rows (decoding): A packed with room for its rows alone, and the product of such a
  /// panel with the same sums. A whole panel, mostly padding, would push B out of the L1 cache. 0: no need.
  int64_t few_rows = 0;
  void (*pack_few)(const MatrixView& source, void* panel) = nullptr;
  void (*multiply_few)(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                       int64_t used_rows, int64_t used_columns, bool accumulate) = nullptr;
  /// Where panels of B are pairs of bf16 of 32 columns and unpacking them in registers pays; or null.
  const NarrowKernel* narrow = nullptr;

  int64_t padded_depth(int64_t depth) const { return (depth + depth_unit - 1) / depth_unit * depth_unit; }
  int64_t a_panel_bytes(int64_t depth) const {
    return rows * padded_depth(depth) * static_cast<int64_t>(size_of(a_operand));
  }
  int64_t b_panel_bytes(int64_t depth) const {
    return columns * padded_depth(depth) * static_cast<int64_t>(size_of(b_operand));
  }
};

/// The fastest kernel of this machine (and of the permitted instruction sets) for f32 operands.
const MicroKernel& f32_micro_kernel();
/// The same for operands rounded to bf16. Where the machine multiplies bf16 no faster than f32, its panels hold the
/// rounded values, those of A (or of both) widened to f32: the products are the same, and exact.
const MicroKernel& bf16_micro_kernel();
/// The fastest for bf16 whose panels hold the same type on both sides: attention writes panels itself.
const MicroKernel& bf16_attention_kernel();

/// Every kernel that this machine (and the permitted instruction sets) can run, and an emulated AMX kernel where
/// AVX512_BF16 is there; for tests and benchmarks.
std::vector<const MicroKernel*> all_micro_kernels();

}  // namespace fledge::tensor::cpu
