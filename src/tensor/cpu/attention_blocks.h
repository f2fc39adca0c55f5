#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_tile.h"
#include "tensor/cpu/micro_kernel.h"

namespace fledge::tensor::cpu {

// What the forward and the backward pass of attention share: panels, blocks of keys, masks, workspaces.

/// The micro-kernel for a type and what follows from its sizes.
struct AttentionBlocks {
  const MicroKernel& kernel;
  int64_t key_block;      ///< keys per block: whole panels of keys and whole steps of depth, about 128
  PanelForm form;         ///< how kernel.pack_b lays out weights
  bool words_a, words_b;  ///< panels are [K in words][lanes], and this machine transposes words in registers

  explicit AttentionBlocks(const MicroKernel& micro_kernel);
  /// Those of the machine's fastest kernel.
  static const AttentionBlocks& of(DType dtype);

  /// kernel.pack_a and pack_b, faster where the source's rows (or the right operand's columns) are contiguous.
  void pack_a(const MatrixView& source, void* panel) const;
  void pack_b(const MatrixView& source, void* panel) const;
};

/// Panels of one operand one after another. A panel is linear in depth: depth d (a multiple of the kernel's depth unit)
/// starts d * lanes elements after its beginning, so a product may use any part of the depth.
struct PanelStack {
  std::byte* data = nullptr;
  int64_t lanes = 0;  ///< MR or NR
  int64_t depth = 0;
  int64_t element_bytes = 0;

  std::byte* at(int64_t panel, int64_t from_depth = 0) const {
    return data + (panel * depth + from_depth) * lanes * element_bytes;
  }
};

/// Packs rows [first, end) of a left operand [rows, depth]; `first` is a multiple of MR.
void pack_rows(const AttentionBlocks& blocks, const MatrixView& source, int64_t first, int64_t end,
               const PanelStack& stack);
/// Packs depth [first, end) of every panel of a left operand; `first` is a multiple of the depth unit.
void pack_row_depth(const AttentionBlocks& blocks, const MatrixView& source, int64_t first, int64_t end,
                    const PanelStack& stack);

/// target[rows, columns] = or += A * B for one B panel; A's panels start at `a` and are `panel_bytes` apart.
void multiply_rows(const MicroKernel& kernel, const std::byte* a, int64_t panel_bytes, int64_t rows, int64_t depth,
                   const void* b, float* target, int64_t stride, int64_t columns, bool accumulate);

/// One panel of queries and what they see. Arrays over columns are as long as a panel is wide.
struct QueryPanel {
  int64_t query = 0;                                               ///< first query
  int64_t count = 0;                                               ///< queries in the panel
  int64_t first_min = 0, first_max = 0, end_min = 0, end_max = 0;  ///< bounds over the queries' key ranges
  int32_t* first = nullptr;  ///< each column's range of keys; empty ranges are [keys, 0)
  int32_t* end = nullptr;

  void fill(const AttentionProblem& problem, int64_t batch_row, int64_t first_query, int64_t width);
  bool sees_nothing() const { return end_max <= first_min; }
};

/// The part of a block of keys that a panel of queries sees.
struct VisibleBlock {
  int64_t rows = 0;     ///< keys from the block's first to the last one seen; 0: none is seen
  bool masked = false;  ///< some query does not see all of them
};
VisibleBlock visible_block(const AttentionProblem& problem, const QueryPanel& panel, int64_t first_key,
                           int64_t key_block);

/// The ranges of a panel relative to a block of keys.
void relative_ranges(const QueryPanel& panel, int64_t first_key, int64_t width, int32_t* first, int32_t* end);

/// Dropout factors for a tile [rows][stride] that starts at `first_key`.
void fill_keep(const AttentionProblem& problem, int64_t batch_row, int64_t head, const QueryPanel& panel,
               int64_t first_key, int64_t rows, int64_t stride, float* keep);
/// The same for one query, [keys].
void fill_keep_row(const AttentionProblem& problem, int64_t batch_row, int64_t head, int64_t query, int64_t first_key,
                   int64_t keys, float* keep);

/// Cuts a workspace into arrays that start at multiples of 64 bytes. With a null base it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}

  template <typename T>
  T* take(int64_t count) {
    std::byte* place = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(place);
  }
  PanelStack take_panels(const MicroKernel& kernel, int64_t lanes, int64_t panels, int64_t depth);
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

/// Calls body(item, workspace) for the items of [0, count) on the threads of the team. Each thread has a workspace of
/// `bytes` bytes that starts at a multiple of 64, is kept between calls and starts out as zeros. Throws base::Error
/// where there is no memory.
void parallel_with_workspace(int64_t count, size_t bytes, const std::function<void(int64_t, std::byte*)>& body);

}  // namespace fledge::tensor::cpu
