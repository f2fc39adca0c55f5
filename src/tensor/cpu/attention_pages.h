#pragma once

#include <cstdint>

#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/read_ahead.h"

namespace fledge::tensor::cpu {

/// How keys and values stand in a page: as B panels of the machine's micro-kernel, so that a query of generation
/// multiplies them as they are. For each head, first the panels of K^T [D, NR keys], or of V [page tokens, NR columns].
/// A page holds one block of keys; places without a token hold zeros or stale finite numbers, whose weight is zero.
struct PageLayout {
  int64_t key_size, value_size;
  int64_t lanes;         ///< NR
  int64_t tokens;        ///< of a page
  int64_t key_panel;     ///< elements of a panel of K^T
  int64_t value_panel;   ///< elements of a panel of V
  int64_t key_elements;  ///< of one head in a page
  int64_t value_elements;
  DType operand;  ///< element type of panels
  bool pairs;     ///< neighbours in depth stand together

  PageLayout(const AttentionBlocks& blocks, int64_t key_size, int64_t value_size);
  /// Element (key, dimension) of a head's keys; (key, column) of its values.
  int64_t key_at(int64_t key, int64_t dimension) const {
    return key / lanes * key_panel + in_panel(dimension, key % lanes);
  }
  int64_t value_at(int64_t key, int64_t column) const {
    return column / lanes * value_panel + in_panel(key, column % lanes);
  }

 private:
  int64_t in_panel(int64_t depth, int64_t lane) const {
    return pairs ? (depth / 2 * lanes + lane) * 2 + depth % 2 : depth * lanes + lane;
  }
};

/// The pages of one sequence in one layer.
struct AttentionPages {
  PageLayout layout;
  std::byte *keys, *values;  ///< [pages, heads, elements of a head]
  int64_t heads;
  const int32_t* numbers;  ///< of the sequence's pages

  /// Panel of K^T with keys from `key` on (a multiple of NR within the page), or of V from `column` on.
  const std::byte* key_panel(int64_t head, int64_t key) const {
    return head_of(keys, layout.key_elements, key, head) +
           key % layout.tokens / layout.lanes * layout.key_panel * element_bytes();
  }
  const std::byte* value_panel(int64_t head, int64_t key, int64_t column) const {
    return head_of(values, layout.value_elements, key, head) +
           column / layout.lanes * layout.value_panel * element_bytes();
  }
  /// Writes `count` tokens of fresh keys and values ([1, T, heads, size] views) behind the first `length`.
  void store(const AttentionView& k, const AttentionView& v, DType dtype, int64_t length, int64_t count) const;
  /// The same for one head by the calling thread.
  void store_head(const AttentionView& k, const AttentionView& v, DType dtype, int64_t length, int64_t count,
                  int64_t head) const;
  /// Adds to the plan what attention to a head's first `tokens` tokens reads.
  void plan_reading(int64_t head, int64_t tokens, ReadAhead& plan) const;
  /// Rows [count, D] of keys, or [count, Dv] of values, from token `key` on within one page; of type `dtype`.
  void load_keys(int64_t head, int64_t key, int64_t count, DType dtype, std::byte* rows) const;
  void load_values(int64_t head, int64_t key, int64_t count, DType dtype, std::byte* rows) const;

 private:
  void store_page(const AttentionView& k, const AttentionView& v, DType dtype, int64_t length, int64_t count,
                  int64_t head, int64_t page) const;
  int64_t element_bytes() const { return static_cast<int64_t>(size_of(layout.operand)); }
  std::byte* head_of(std::byte* base, int64_t elements, int64_t key, int64_t head) const {
    return base + (numbers[key / layout.tokens] * heads + head) * elements * element_bytes();
  }
};

}  // namespace fledge::tensor::cpu
