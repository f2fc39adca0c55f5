#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/attention_pages.h"
#include "tensor/cpu/attention_tile.h"

namespace fledge::tensor::cpu {
namespace {

/// One work item: some panels of queries of the heads of a call that share one key head.
struct Item {
  size_t call;
  int64_t batch_row, kv_head;
  int64_t first_panel, end_panel;  ///< of group() * panels_per_head, head by head
};

struct ForwardWorkspace {
  PanelStack keys, values;  ///< A panels: K [Tk, D], V^T [Dv, Tk]
  std::byte* queries;       ///< B panel: Q^T [D, NR]
  float* scores;            ///< S^T [key block, NR]
  uint32_t* weights;        ///< B panel: P^T [key block, NR]
  float* output;            ///< O^T [Dv, NR]
  float* keep;
  std::byte* page_rows;  ///< keys or values of one page, row by row
  float *maximum, *sum, *correction;
  int32_t *first, *end, *relative_first, *relative_end;
  size_t bytes;

  ForwardWorkspace(const AttentionProblem& p, const AttentionBlocks& blocks, bool paged, std::byte* base) {
    const MicroKernel& kernel = blocks.kernel;
    const int64_t width = kernel.columns, block = kernel.padded_depth(blocks.key_block);
    const auto panels = [&](int64_t rows) { return (rows + kernel.rows - 1) / kernel.rows; };
    Carver carver(base);
    keys = carver.take_panels(kernel, kernel.rows, panels(p.keys), p.head_size);
    values = carver.take_panels(kernel, kernel.rows, panels(p.value_size), p.keys);
    queries = carver.take<std::byte>(kernel.b_panel_bytes(p.head_size));
    scores = carver.take<float>(block * width);
    weights = carver.take<uint32_t>(block * width);
    output = carver.take<float>(p.value_size * width);
    keep = carver.take<float>(p.dropout.random == nullptr ? 0 : block * width);
    page_rows = carver.take<std::byte>(
        paged ? blocks.key_block * std::max(p.head_size, p.value_size) * static_cast<int64_t>(size_of(p.dtype)) : 0);
    for (float** array : {&maximum, &sum, &correction}) *array = carver.take<float>(width);
    for (int32_t** array : {&first, &end, &relative_first, &relative_end}) *array = carver.take<int32_t>(width);
    bytes = carver.used();
  }
};

class Forward {
 public:
  Forward(const AttentionProblem& problem, const AttentionForward& tensors, const AttentionBlocks& blocks)
      : p_(problem),
        t_(tensors),
        blocks_(blocks),
        kernel_(blocks_.kernel),
        width_(kernel_.columns),
        panels_per_head_((p_.queries + width_ - 1) / width_) {}

  int64_t panels() const { return p_.group() * panels_per_head_; }
  size_t workspace_bytes() const { return ForwardWorkspace(p_, blocks_, t_.pages != nullptr, nullptr).bytes; }

  void compute(const Item& item, std::byte* base) const {
    const ForwardWorkspace w(p_, blocks_, t_.pages != nullptr, base);
    int64_t first_key = p_.keys, end_key = 0;
    for (int64_t index = item.first_panel; index < item.end_panel; ++index) {
      const QueryPanel queries = panel(item, index, w);
      first_key = std::min(first_key, queries.first_min), end_key = std::max(end_key, queries.end_max);
    }
    if (first_key < end_key) pack_keys(item, first_key / blocks_.key_block * blocks_.key_block, end_key, w);
    for (int64_t index = item.first_panel; index < item.end_panel; ++index) {
      const int64_t head = item.kv_head * p_.group() + index / panels_per_head_;
      compute_panel(item.batch_row, head, panel(item, index, w), w);
    }
  }

 private:
  QueryPanel panel(const Item& item, int64_t index, const ForwardWorkspace& w) const {
    QueryPanel result;
    result.first = w.first, result.end = w.end;
    result.fill(p_, item.batch_row, index % panels_per_head_ * width_, width_);
    return result;
  }

  void pack_keys(const Item& item, int64_t first_key, int64_t end_key, const ForwardWorkspace& w) const {
    if (t_.pages == nullptr) {
      const std::byte* k = t_.k.data + offset(t_.k, item.batch_row, 0, item.kv_head);
      const std::byte* v = t_.v.data + offset(t_.v, item.batch_row, 0, item.kv_head);
      pack_rows(blocks_, {k, p_.dtype, p_.keys, p_.head_size, t_.k.token_stride, 1}, first_key, end_key, w.keys);
      pack_row_depth(blocks_, {v, p_.dtype, p_.value_size, p_.keys, 1, t_.v.token_stride}, first_key, end_key,
                     w.values);
      return;
    }
    // A page is a block of keys, so its panels come out as from one long run.
    for (int64_t key = first_key; key < end_key; key += blocks_.key_block) {
      const int64_t count = std::min(blocks_.key_block, end_key - key);
      PanelStack keys = w.keys, values = w.values;
      keys.data = w.keys.at(key / kernel_.rows);
      values.data = w.values.at(0, key);
      t_.pages->load_keys(item.kv_head, key, count, p_.dtype, w.page_rows);
      pack_rows(blocks_, {w.page_rows, p_.dtype, count, p_.head_size, p_.head_size, 1}, 0, count, keys);
      t_.pages->load_values(item.kv_head, key, count, p_.dtype, w.page_rows);
      pack_row_depth(blocks_, {w.page_rows, p_.dtype, p_.value_size, count, 1, p_.value_size}, 0, count, values);
    }
  }

  int64_t offset(const AttentionView& view, int64_t batch_row, int64_t token, int64_t head) const {
    return view.offset(batch_row, token, head) * static_cast<int64_t>(size_of(p_.dtype));
  }

  void compute_panel(int64_t batch_row, int64_t head, const QueryPanel& queries, const ForwardWorkspace& w) const {
    const std::byte* q = t_.q.data + offset(t_.q, batch_row, queries.query, head);
    blocks_.pack_b({q, p_.dtype, p_.head_size, queries.count, 1, t_.q.token_stride}, w.queries);
    std::fill_n(w.maximum, width_, -std::numeric_limits<float>::infinity());
    std::fill_n(w.sum, width_, 0.0f);
    bool is_first = true;
    for (int64_t key = queries.first_min / blocks_.key_block * blocks_.key_block; key < queries.end_max;
         key += blocks_.key_block) {
      const VisibleBlock block = visible_block(p_, queries, key, blocks_.key_block);
      if (block.rows > 0) compute_block(batch_row, head, queries, key, block, is_first, w);
      if (block.rows > 0) is_first = false;
    }
    if (is_first) std::fill_n(w.output, p_.value_size * width_, 0.0f);
    finish(batch_row, head, queries, w);
  }

  void compute_block(int64_t batch_row, int64_t head, const QueryPanel& queries, int64_t key, const VisibleBlock& block,
                     bool is_first, const ForwardWorkspace& w) const {
    const int64_t columns = std::min(width_, (queries.count + 15) / 16 * 16);
    const int64_t depth = kernel_.padded_depth(block.rows);
    multiply_rows(kernel_, w.keys.at(key / kernel_.rows), kernel_.a_panel_bytes(p_.head_size), block.rows, w.keys.depth,
                  w.queries, w.scores, width_, columns, false);

    ScoreTile tile{};
    tile.scores = w.scores;
    tile.rows = block.rows, tile.columns = columns, tile.stride = width_, tile.padded_rows = depth;
    tile.scale_log2 = static_cast<float>(p_.scale * std::numbers::log2e);
    tile.form = blocks_.form;
    if (block.masked) {
      relative_ranges(queries, key, width_, w.relative_first, w.relative_end);
      tile.first = w.relative_first, tile.end = w.relative_end;
    }
    if (p_.dropout.random != nullptr) {
      fill_keep(p_, batch_row, head, queries, key, block.rows, width_, w.keep);
      tile.keep = w.keep;
    }
    const bool corrects = softmax_tile(tile, w.maximum, w.sum, w.correction, w.weights);
    if (corrects && !is_first) scale_columns(w.output, p_.value_size, width_, w.correction);

    const void* weights = w.scores;
    if (blocks_.form == PanelForm::pairs) weights = w.weights;
    if (blocks_.form == PanelForm::other) {
      kernel_.pack_b({w.scores, DType::f32, block.rows, columns, width_, 1}, w.weights);
      weights = w.weights;
    }
    multiply_rows(kernel_, w.values.at(0, key), w.values.lanes * w.values.depth * w.values.element_bytes, p_.value_size,
                  depth, weights, w.output, width_, columns, !is_first);
  }

  void finish(int64_t batch_row, int64_t head, const QueryPanel& queries, const ForwardWorkspace& w) const {
    for (int64_t column = 0; column < width_; ++column) {
      w.correction[column] = w.sum[column] == 0 ? 0 : 1 / w.sum[column];
    }
    std::byte* out = t_.out.data + offset(t_.out, batch_row, queries.query, head);
    store_transposed(w.output, p_.value_size, queries.count, width_, w.correction, p_.dtype, out, t_.out.token_stride);
    if (t_.logsumexp == nullptr) return;
    float* logsumexp =
        static_cast<float*>(t_.logsumexp) + (batch_row * p_.heads + head) * t_.logsumexp_stride + queries.query;
    for (int64_t column = 0; column < queries.count; ++column) {
      // A query that sees nothing has sum 0 and maximum -infinity.
      logsumexp[column] =
          static_cast<float>(p_.scale * w.maximum[column] + std::log(static_cast<double>(w.sum[column])));
    }
  }

  const AttentionProblem& p_;
  const AttentionForward& t_;
  const AttentionBlocks& blocks_;
  const MicroKernel& kernel_;
  const int64_t width_;
  const int64_t panels_per_head_;
};

/// The work of all calls. An item packs its keys once; where there are few heads, several threads share one and each
/// packs for itself.
std::vector<Item> make_items(std::span<const AttentionCall> calls, std::span<const Forward> passes) {
  int64_t heads = 0;
  for (const AttentionCall& call : calls) heads += call.problem.batch * call.problem.kv_heads;
  const int64_t wanted = 2 * base::thread_count();
  std::vector<Item> items;
  for (size_t index = 0; index < calls.size(); ++index) {
    const AttentionProblem& p = calls[index].problem;
    const int64_t panels = passes[index].panels();
    const int64_t parts = heads >= wanted ? 1 : std::min(panels, (wanted + heads - 1) / heads);
    for (int64_t head = 0; head < p.batch * p.kv_heads; ++head) {
      for (int64_t part = 0; part < parts; ++part) {
        items.push_back(
            {index, head / p.kv_heads, head % p.kv_heads, panels * part / parts, panels * (part + 1) / parts});
      }
    }
  }
  return items;
}

void attention_forward_panels(std::span<const AttentionCall> calls, const AttentionBlocks& blocks) {
  std::vector<Forward> passes;
  size_t bytes = 0;
  for (const AttentionCall& call : calls) {
    passes.emplace_back(call.problem, call.tensors, blocks);
    bytes = std::max(bytes, passes.back().workspace_bytes());
  }
  const std::vector<Item> items = make_items(calls, passes);
  parallel_with_workspace(static_cast<int64_t>(items.size()), bytes, [&](int64_t index, std::byte* base) {
    const Item& item = items[static_cast<size_t>(index)];
    passes[item.call].compute(item, base);
  });
}

/// A pass over `count` queries of one batch row from `query` on, and the keys from `origin` on.
AttentionCall part_of(const AttentionProblem& problem, const AttentionForward& tensors, int64_t batch_row,
                      int64_t query, int64_t count, int64_t origin) {
  AttentionCall call{problem, tensors};
  AttentionProblem& part = call.problem;
  const int64_t index = batch_row * problem.queries + query;
  part.batch = 1, part.queries = count, part.origin = origin;
  const int64_t end = problem.position(query) + count;
  part.keys = (problem.causal ? end : problem.keys) - origin;
  part.later_keys = problem.causal ? 0 : problem.keys - end;
  part.starts += index;
  if (part.ends != nullptr) part.ends += index;
  part.dropout.first_sample += static_cast<uint64_t>(batch_row);
  const auto bytes = static_cast<int64_t>(size_of(problem.dtype));
  AttentionForward& views = call.tensors;
  views.q.data += views.q.offset(batch_row, query, 0) * bytes;
  views.out.data += views.out.offset(batch_row, query, 0) * bytes;
  views.k.data += views.k.offset(batch_row, origin, 0) * bytes;
  views.v.data += views.v.offset(batch_row, origin, 0) * bytes;
  if (views.logsumexp != nullptr) {
    views.logsumexp = static_cast<float*>(views.logsumexp) + batch_row * problem.heads * views.logsumexp_stride + query;
  }
  return call;
}

}  // namespace

std::vector<AttentionCall> split_documents(const AttentionProblem& problem, const AttentionForward& tensors) {
  std::vector<AttentionCall> calls;
  for (int64_t row = 0; row < problem.batch; ++row) {
    const int32_t* starts = problem.starts + row * problem.queries;
    for (int64_t query = 0, end = 0; query < problem.queries; query = end) {
      const int64_t start = std::clamp<int64_t>(starts[query], 0, problem.keys);
      const auto sees = [&](int64_t i) { return !problem.causal || problem.position(i) >= start; };
      end = query + 1;
      while (end < problem.queries && starts[end] == starts[query] && sees(end) == sees(query)) ++end;
      // Queries before their document see nothing, whatever the keys.
      calls.push_back(part_of(problem, tensors, row, query, end - query, sees(query) ? start : 0));
    }
  }
  return calls;
}

void attention_forward(const AttentionProblem& problem, const AttentionForward& tensors,
                       const AttentionBlocks& blocks) {
  std::vector<AttentionCall> calls;
  if (problem.starts == nullptr) {
    calls.push_back({problem, tensors});
  } else {
    calls = split_documents(problem, tensors);
  }
  const auto first_panels = std::partition(
      calls.begin(), calls.end(), [&](const AttentionCall& call) { return attention_fits_rows(call.problem, blocks); });
  const auto rows = static_cast<size_t>(first_panels - calls.begin());
  attention_forward_rows(std::span(calls).first(rows), blocks);
  attention_forward_panels(std::span(calls).subspan(rows), blocks);
}

}  // namespace fledge::tensor::cpu
