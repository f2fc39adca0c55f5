#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/attention_pages.h"
#include "tensor/cpu/attention_tile.h"

// Attention of few queries, as in generation: the queries are the rows of one left operand, and keys and values are
// packed a panel at a time and used at once. Every sum has the order of attention_forward.cpp, so the bits are the
// same.

namespace fledge::tensor::cpu {
namespace {

struct RowWorkspace {
  std::byte *queries, *weights;  ///< A panels: Q [rows, D] and P [rows, key block]
  std::byte* panel;              ///< B panel of K^T [D, NR] or V [key block, NR]
  std::byte* query_rows;         ///< Q [rows, D], gathered
  float* scores;                 ///< S [rows][score_stride]
  float* output;                 ///< O [rows][Dv]
  float* keep;                   ///< one row of dropout factors
  float *maximum, *sum, *correction;
  int64_t score_stride;
  size_t bytes;

  RowWorkspace(const AttentionProblem& p, const AttentionBlocks& blocks, std::byte* base) {
    const MicroKernel& kernel = blocks.kernel;
    constexpr int64_t kVector = 16;
    score_stride = (kernel.padded_depth(blocks.key_block) + kVector - 1) / kVector * kVector;
    Carver carver(base);
    queries = carver.take<std::byte>(kernel.a_panel_bytes(p.head_size));
    weights = carver.take<std::byte>(kernel.a_panel_bytes(blocks.key_block));
    panel = carver.take<std::byte>(kernel.b_panel_bytes(std::max(p.head_size, blocks.key_block)));
    query_rows = carver.take<std::byte>(kernel.rows * p.head_size * static_cast<int64_t>(size_of(p.dtype)));
    scores = carver.take<float>(kernel.rows * score_stride);
    output = carver.take<float>(kernel.rows * p.value_size);
    keep = carver.take<float>(p.dropout.random == nullptr ? 0 : score_stride);
    for (float** array : {&maximum, &sum, &correction}) *array = carver.take<float>(kernel.rows);
    bytes = carver.used();
  }
};

/// The queries of all heads that share one key head of one batch row.
class RowItem {
 public:
  RowItem(const AttentionProblem& problem, const AttentionForward& tensors, const AttentionBlocks& blocks,
          int64_t batch_row, int64_t kv_head, std::byte* base)
      : p_(problem),
        t_(tensors),
        blocks_(blocks),
        kernel_(blocks_.kernel),
        batch_row_(batch_row),
        kv_head_(kv_head),
        rows_(problem.group() * problem.queries),
        w_(problem, blocks, base) {}

  void compute() {
    pack_queries();
    std::fill_n(w_.maximum, rows_, -std::numeric_limits<float>::infinity());
    std::fill_n(w_.sum, rows_, 0.0f);
    std::fill_n(w_.output, rows_ * p_.value_size, 0.0f);
    int64_t first_key = p_.keys, end_key = 0;
    for (int64_t query = 0; query < p_.queries; ++query) {
      const KeyRange range = p_.range(batch_row_, query);
      if (range.first >= range.end) continue;
      first_key = std::min(first_key, range.first), end_key = std::max(end_key, range.end);
    }
    bool is_first = true;
    for (int64_t key = first_key / blocks_.key_block * blocks_.key_block; key < end_key; key += blocks_.key_block) {
      compute_block(key, std::min(blocks_.key_block, end_key - key), is_first);
      is_first = false;
    }
    for (int64_t row = 0; row < rows_; ++row) finish(row);
  }

 private:
  int64_t head(int64_t row) const { return kv_head_ * p_.group() + row / p_.queries; }
  int64_t query(int64_t row) const { return row % p_.queries; }

  std::byte* address(const AttentionView& view, int64_t token, int64_t h) const {
    return view.data + view.offset(batch_row_, token, h) * static_cast<int64_t>(size_of(p_.dtype));
  }

  void pack_queries() {
    const size_t bytes = static_cast<size_t>(p_.head_size) * size_of(p_.dtype);
    for (int64_t row = 0; row < rows_; ++row) {
      std::memcpy(w_.query_rows + static_cast<size_t>(row) * bytes, address(t_.q, query(row), head(row)), bytes);
    }
    blocks_.pack_a({w_.query_rows, p_.dtype, rows_, p_.head_size, p_.head_size, 1}, w_.queries);
  }

  /// B panels of K^T with `columns` keys, and of V with `columns` columns.
  const std::byte* key_panel(int64_t key, int64_t columns) const {
    if (t_.pages != nullptr) return t_.pages->key_panel(kv_head_, key);
    blocks_.pack_b({address(t_.k, key, kv_head_), p_.dtype, p_.head_size, columns, 1, t_.k.token_stride}, w_.panel);
    return w_.panel;
  }
  const std::byte* value_panel(int64_t key, int64_t keys, int64_t first, int64_t columns) const {
    if (t_.pages != nullptr) return t_.pages->value_panel(kv_head_, key, first);
    const std::byte* v = address(t_.v, key, kv_head_) + first * static_cast<int64_t>(size_of(p_.dtype));
    blocks_.pack_b({v, p_.dtype, keys, columns, t_.v.token_stride, 1}, w_.panel);
    return w_.panel;
  }

  void compute_block(int64_t key, int64_t keys, bool is_first) {
    const int64_t depth = kernel_.padded_depth(p_.head_size);
    for (int64_t first = 0; first < keys; first += kernel_.columns) {
      const int64_t columns = std::min(kernel_.columns, keys - first);
      kernel_.multiply(depth, w_.queries, key_panel(key + first, columns), w_.scores + first, w_.score_stride, rows_,
                       columns, false);
    }
    for (int64_t row = 0; row < rows_; ++row) make_weights(row, key, keys);
    kernel_.pack_a({w_.scores, DType::f32, rows_, keys, w_.score_stride, 1}, w_.weights);
    for (int64_t first = 0; first < p_.value_size; first += kernel_.columns) {
      const int64_t columns = std::min(kernel_.columns, p_.value_size - first);
      kernel_.multiply(kernel_.padded_depth(keys), w_.weights, value_panel(key, keys, first, columns),
                       w_.output + first, p_.value_size, rows_, columns, !is_first);
    }
  }

  /// Scores of a row to weights, and its earlier output corrected for a new maximum.
  void make_weights(int64_t row, int64_t key, int64_t keys) {
    const KeyRange range = p_.range(batch_row_, query(row));
    ScoreRow scores{};
    scores.scores = w_.scores + row * w_.score_stride;
    scores.keys = keys;
    scores.first = std::max<int64_t>(0, range.first - key), scores.end = std::min(keys, range.end - key);
    scores.scale_log2 = static_cast<float>(p_.scale * std::numbers::log2e);
    if (p_.dropout.random != nullptr) {
      fill_keep_row(p_, batch_row_, head(row), query(row), key, keys, w_.keep);
      scores.keep = w_.keep;
    }
    const float correction = softmax_row(scores, w_.maximum + row, w_.sum + row);
    float* output = w_.output + row * p_.value_size;
    if (correction != 1) store_scaled(output, 1, p_.value_size, correction, DType::f32, output, 0);
  }

  void finish(int64_t row) {
    const float sum = w_.sum[row];
    store_scaled(w_.output + row * p_.value_size, 1, p_.value_size, sum == 0 ? 0 : 1 / sum, p_.dtype,
                 address(t_.out, query(row), head(row)), 0);
    if (t_.logsumexp == nullptr) return;
    static_cast<float*>(t_.logsumexp)[(batch_row_ * p_.heads + head(row)) * t_.logsumexp_stride + query(row)] =
        static_cast<float>(p_.scale * w_.maximum[row] + std::log(static_cast<double>(sum)));
  }

  const AttentionProblem& p_;
  const AttentionForward& t_;
  const AttentionBlocks& blocks_;
  const MicroKernel& kernel_;
  const int64_t batch_row_, kv_head_, rows_;
  RowWorkspace w_;
};

/// The tokens that the pages do not have yet, of one head: this call alone reads them.
void store_fresh(const AttentionCall& call, int64_t head) {
  const AttentionForward& tensors = call.tensors;
  tensors.pages->store_head(tensors.k, tensors.v, call.problem.dtype, call.stored, call.problem.keys - call.stored,
                            head);
}

}  // namespace

bool attention_fits_rows(const AttentionProblem& problem, const AttentionBlocks& blocks) {
  return problem.group() * problem.queries <= blocks.kernel.rows;
}

void attention_forward_rows(std::span<const AttentionCall> calls, const AttentionBlocks& blocks) {
  if (calls.empty()) return;
  // Calls without pages are either one, or have one batch row each.
  const AttentionProblem& any = calls.front().problem;
  const int64_t heads = any.batch * any.kv_heads, items = static_cast<int64_t>(calls.size()) * heads;
  parallel_with_workspace(items, RowWorkspace(any, blocks, nullptr).bytes, [&](int64_t item, std::byte* base) {
    const AttentionCall& call = calls[static_cast<size_t>(item / heads)];
    const int64_t row = item % heads / any.kv_heads, head = item % any.kv_heads;
    if (call.stored >= 0) store_fresh(call, head);
    RowItem(call.problem, call.tensors, blocks, row, head, base).compute();
  });
}

}  // namespace fledge::tensor::cpu
