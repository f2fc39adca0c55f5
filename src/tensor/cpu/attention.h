#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// Address and strides (in elements) of a [B, T, H, D] view whose last dimension is contiguous.
struct AttentionView {
  std::byte* data = nullptr;
  int64_t batch_stride = 0, token_stride = 0, head_stride = 0;

  int64_t offset(int64_t batch, int64_t token, int64_t head) const {
    return batch * batch_stride + token * token_stride + head * head_stride;
  }
  template <typename T>
  T* row(int64_t batch, int64_t token, int64_t head) const {
    return reinterpret_cast<T*>(data) + offset(batch, token, head);
  }
};

/// Which normalised weights are dropped: see AttentionOptions::dropout. One block of random numbers serves four keys.
struct AttentionDropout {
  const base::Random* random = nullptr;  ///< nullptr: nothing is dropped
  uint32_t threshold = 0;                ///< a weight is dropped where its number is below
  double kept = 1;                       ///< factor of the weights that stay
  uint64_t first_sample = 0;
  int64_t heads = 1;

  uint64_t row_number(int64_t batch, int64_t head) const {
    return (first_sample + static_cast<uint64_t>(batch)) * static_cast<uint64_t>(heads) + static_cast<uint64_t>(head);
  }
  /// Numbers for keys 4 * key_group ... 4 * key_group + 3.
  std::array<uint32_t, 4> numbers(int64_t batch, int64_t head, int64_t query_position, int64_t key_group) const {
    return random->block((static_cast<uint64_t>(query_position) << 32) | static_cast<uint64_t>(key_group),
                         row_number(batch, head));
  }
};

/// Keys [first, end) that a query may see; empty where end <= first.
struct KeyRange {
  int64_t first, end;
};

/// Shapes and options of one call, checked.
struct AttentionProblem {
  int64_t batch, queries, keys, heads, kv_heads, head_size, value_size;
  DType dtype;
  bool causal;
  double scale;
  const int32_t *starts = nullptr, *ends = nullptr;  ///< [batch, queries] contiguous, or nullptr
  int64_t origin = 0;                                ///< what `starts`, `ends` and dropout call the first key
  int64_t later_keys = 0;                            ///< keys behind the position of the last query
  int64_t window = 0;                                ///< most keys that a causal query sees; 0: all
  AttentionDropout dropout;

  int64_t group() const { return heads / kv_heads; }
  int64_t position(int64_t query) const { return keys - later_keys - queries + query; }
  KeyRange range(int64_t batch_row, int64_t query) const {
    const int64_t index = batch_row * queries + query;
    KeyRange range{0, causal ? position(query) + 1 : keys};
    if (window > 0) range.first = std::max<int64_t>(0, position(query) + 1 - window);
    if (starts != nullptr) range.first = std::max<int64_t>(range.first, starts[index] - origin);
    if (ends != nullptr) range.end = std::min<int64_t>(range.end, ends[index] - origin);
    return range;
  }
};

struct AttentionPages;

struct AttentionForward {
  AttentionView q, k, v, out;
  void* logsumexp;                        ///< [batch, heads, queries], f32 (f64 in the reference), or nullptr
  int64_t logsumexp_stride;               ///< from one head's to the next
  const AttentionPages* pages = nullptr;  ///< where given, keys and values of the only batch row, instead of k and v
};

struct AttentionBackward {
  AttentionView q, k, v, out, d_out;
  const void* logsumexp;
  AttentionView d_q, d_k, d_v;
};

/// f32 and bf16, on the micro-kernel of `blocks` (AttentionBlocks::of(problem.dtype), but for tests).
struct AttentionBlocks;
void attention_forward(const AttentionProblem& problem, const AttentionForward& tensors, const AttentionBlocks& blocks);
void attention_backward(const AttentionProblem& problem, const AttentionBackward& tensors,
                        const AttentionBlocks& blocks);

/// One forward pass of several, which have the same heads, sizes and type. Those on pages have one batch row.
struct AttentionCall {
  AttentionProblem problem;
  AttentionForward tensors;
  int64_t stored = -1;  ///< tokens that the pages have; what follows is stored with the call. -1: they have all
};

/// The queries of packed documents as passes over their own document's keys alone: no key of another document is read,
/// and a query's result does not depend on where in the row its document stands, bit for bit.
std::vector<AttentionCall> split_documents(const AttentionProblem& problem, const AttentionForward& tensors);

/// The forward pass of few queries per key head: the same bits without packing all of K and V.
bool attention_fits_rows(const AttentionProblem& problem, const AttentionBlocks& blocks);
/// Several passes in one parallel region.
void attention_forward_rows(std::span<const AttentionCall> calls, const AttentionBlocks& blocks);

}  // namespace fledge::tensor::cpu
