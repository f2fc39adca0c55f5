#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <vector>

#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/attention_tile.h"

namespace fledge::tensor::cpu {
namespace {

/// Panels of queries whose weights are collected before they are multiplied into dK and dV: a longer depth makes fewer
/// passes over those.
constexpr int64_t kPanelsPerRun = 4;

int64_t ceil_divide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// What one query head brings.
struct HeadWorkspace {
  PanelStack queries, d_outputs;            ///< B panels: Q^T [D, Tq], dO^T [Dv, Tq]
  PanelStack queries_deep, d_outputs_deep;  ///< B panels with the queries as depth: Q [Tq, D], dO [Tq, Dv]
  float* d_queries;                         ///< dQ^T / scale, [panel][D][NR]
  float *logsumexp_log2, *delta;            ///< [Tq]
};

struct BackwardWorkspace {
  PanelStack keys, values;  ///< A panels: K [Tk, D], V [Tk, Dv]
  PanelStack keys_deep;     ///< A panels with the keys as depth: K^T [D, Tk]
  std::vector<HeadWorkspace> heads;
  std::vector<QueryPanel> panels;

  float *scores, *d_weights;              ///< S^T and dP^T [key block, NR]
  bf16 *weight_rows, *gradient_rows;      ///< P^T and dS^T, the same
  uint32_t* gradient_panel;               ///< B panel: dS^T
  PanelStack run_weights, run_gradients;  ///< A panels: P^T and dS^T [key block, a run of queries]
  float *d_keys, *d_values;               ///< [key block, D], [key block, Dv]
  float* keep;
  float* factors;
  int32_t *relative_first, *relative_end;
  size_t bytes;

  BackwardWorkspace(const AttentionProblem& p, const AttentionBlocks& blocks, std::byte* base);
};

BackwardWorkspace::BackwardWorkspace(const AttentionProblem& p, const AttentionBlocks& blocks, std::byte* base)
    : heads(static_cast<size_t>(p.group())),
      panels(static_cast<size_t>(ceil_divide(p.queries, blocks.kernel.columns))) {
  const MicroKernel& kernel = blocks.kernel;
  const int64_t width = kernel.columns, block = kernel.padded_depth(blocks.key_block);
  const int64_t query_panels = ceil_divide(p.queries, width), padded_queries = query_panels * width;
  const auto row_panels = [&](int64_t rows) { return ceil_divide(rows, kernel.rows); };
  const auto column_panels = [&](int64_t columns) { return ceil_divide(columns, width); };
  Carver carver(base);
  keys = carver.take_panels(kernel, kernel.rows, row_panels(p.keys), p.head_size);
  values = carver.take_panels(kernel, kernel.rows, row_panels(p.keys), p.value_size);
  keys_deep = carver.take_panels(kernel, kernel.rows, row_panels(p.head_size), p.keys);
  for (HeadWorkspace& head : heads) {
    head.queries = carver.take_panels(kernel, width, query_panels, p.head_size);
    head.d_outputs = carver.take_panels(kernel, width, query_panels, p.value_size);
    head.queries_deep = carver.take_panels(kernel, width, column_panels(p.head_size), padded_queries);
    head.d_outputs_deep = carver.take_panels(kernel, width, column_panels(p.value_size), padded_queries);
    head.d_queries = carver.take<float>(query_panels * p.head_size * width);
    head.logsumexp_log2 = carver.take<float>(padded_queries);
    head.delta = carver.take<float>(padded_queries);
  }
  for (QueryPanel& panel : panels) {
    panel.first = carver.take<int32_t>(width);
    panel.end = carver.take<int32_t>(width);
  }
  scores = carver.take<float>(block * width);
  d_weights = carver.take<float>(block * width);
  weight_rows = carver.take<bf16>(block * width);
  gradient_rows = carver.take<bf16>(block * width);
  gradient_panel = carver.take<uint32_t>(block * width);
  run_weights = carver.take_panels(kernel, kernel.rows, row_panels(blocks.key_block), kPanelsPerRun * width);
  run_gradients = carver.take_panels(kernel, kernel.rows, row_panels(blocks.key_block), kPanelsPerRun * width);
  d_keys = carver.take<float>(blocks.key_block * p.head_size);
  d_values = carver.take<float>(blocks.key_block * p.value_size);
  keep = carver.take<float>(p.dropout.random == nullptr ? 0 : block * width);
  factors = carver.take<float>(width);
  relative_first = carver.take<int32_t>(width);
  relative_end = carver.take<int32_t>(width);
  bytes = carver.used();
}

/// All of one key head and the query heads that share it: nobody else adds to its dK and dV, nor to their dQ.
class BackwardItem {
 public:
  BackwardItem(const AttentionProblem& problem, const AttentionBackward& tensors, const AttentionBlocks& blocks,
               int64_t batch_row, int64_t kv_head, std::byte* base)
      : p_(problem),
        t_(tensors),
        blocks_(blocks),
        kernel_(blocks_.kernel),
        width_(kernel_.columns),
        batch_row_(batch_row),
        kv_head_(kv_head),
        w_(problem, blocks, base) {}

  void compute() {
    pack_keys();
    for (size_t i = 0; i < w_.panels.size(); ++i) {
      w_.panels[i].fill(p_, batch_row_, static_cast<int64_t>(i) * width_, width_);
    }
    for (int64_t i = 0; i < p_.group(); ++i) prepare_head(query_head(i), head(i));
    for (int64_t key = 0; key < p_.keys; key += blocks_.key_block) compute_key_block(key);
    for (int64_t i = 0; i < p_.group(); ++i) store_d_queries(query_head(i), head(i));
  }

 private:
  /// Panels of queries [first, first + count) whose weights wait in the run_ stacks.
  struct Run {
    int64_t first = 0, count = 0;
    int64_t rows = 0;                    ///< keys that some of them see
    std::vector<int64_t> first_of_rows;  ///< per panel of keys: the first of the run that sees any of it
  };

  HeadWorkspace& head(int64_t i) { return w_.heads[static_cast<size_t>(i)]; }
  int64_t query_head(int64_t i) const { return kv_head_ * p_.group() + i; }

  std::byte* address(const AttentionView& view, int64_t token, int64_t head) const {
    const int64_t elements = batch_row_ * view.batch_stride + token * view.token_stride + head * view.head_stride;
    return view.data + elements * static_cast<int64_t>(size_of(p_.dtype));
  }

  void pack_keys() {
    const std::byte *k = address(t_.k, 0, kv_head_), *v = address(t_.v, 0, kv_head_);
    const MatrixView keys{k, p_.dtype, p_.keys, p_.head_size, t_.k.token_stride, 1};
    const MatrixView values{v, p_.dtype, p_.keys, p_.value_size, t_.v.token_stride, 1};
    pack_rows(blocks_, keys, 0, p_.keys, w_.keys);
    pack_rows(blocks_, values, 0, p_.keys, w_.values);
    pack_row_depth(blocks_, keys.transposed(), 0, p_.keys, w_.keys_deep);
  }

  void prepare_head(int64_t h, HeadWorkspace& head) {
    std::memset(head.d_queries, 0, w_.panels.size() * static_cast<size_t>(p_.head_size * width_) * sizeof(float));
    const float* logsumexp = static_cast<const float*>(t_.logsumexp) + (batch_row_ * p_.heads + h) * p_.queries;
    const auto padded = static_cast<int64_t>(w_.panels.size()) * width_;
    std::fill_n(head.delta, padded, 0.0f);
    row_dots(address(t_.out, 0, h), t_.out.token_stride, address(t_.d_out, 0, h), t_.d_out.token_stride, p_.dtype,
             p_.queries, p_.value_size, head.delta);
    for (int64_t query = 0; query < padded; ++query) {
      // 2^(score - infinity) = 0: the weight of queries that see nothing, and of those that are padding.
      const bool sees = query < p_.queries && logsumexp[query] != -std::numeric_limits<float>::infinity();
      head.logsumexp_log2[query] =
          sees ? logsumexp[query] * std::numbers::log2e_v<float> : std::numeric_limits<float>::infinity();
    }
    for (size_t i = 0; i < w_.panels.size(); ++i) {
      const QueryPanel& panel = w_.panels[i];
      const auto index = static_cast<int64_t>(i);
      const MatrixView q{address(t_.q, panel.query, h), p_.dtype, panel.count, p_.head_size, t_.q.token_stride, 1};
      const MatrixView d_out{
          address(t_.d_out, panel.query, h), p_.dtype, panel.count, p_.value_size, t_.d_out.token_stride, 1};
      blocks_.pack_b(q.transposed(), head.queries.at(index));
      blocks_.pack_b(d_out.transposed(), head.d_outputs.at(index));
      pack_deep(q, panel.query, head.queries_deep);
      pack_deep(d_out, panel.query, head.d_outputs_deep);
    }
  }

  /// Packs one panel of queries as depth of a right operand.
  void pack_deep(const MatrixView& rows, int64_t query, const PanelStack& stack) {
    for (int64_t column = 0; column < rows.columns; column += width_) {
      const int64_t columns = std::min(width_, rows.columns - column);
      blocks_.pack_b(rows.part(0, rows.rows, column, columns), stack.at(column / width_, query));
    }
  }

  void compute_key_block(int64_t key) {
    const int64_t rows = std::min(blocks_.key_block, p_.keys - key);
    std::memset(w_.d_keys, 0, static_cast<size_t>(rows * p_.head_size) * sizeof(float));
    std::memset(w_.d_values, 0, static_cast<size_t>(rows * p_.value_size) * sizeof(float));
    for (int64_t i = 0; i < p_.group(); ++i) {
      Run run;
      for (size_t index = 0; index < w_.panels.size(); ++index) {
        const VisibleBlock block = visible_block(p_, w_.panels[index], key, blocks_.key_block);
        if (run.count == kPanelsPerRun || (block.rows == 0 && run.count > 0)) finish_run(head(i), run);
        if (block.rows == 0) continue;
        compute_tile(query_head(i), head(i), static_cast<int64_t>(index), key, block);
        extend_run(run, static_cast<int64_t>(index), block.rows);
      }
      if (run.count > 0) finish_run(head(i), run);
    }
    store_scaled(w_.d_keys, rows, p_.head_size, static_cast<float>(p_.scale), p_.dtype, address(t_.d_k, key, kv_head_),
                 t_.d_k.token_stride);
    store_scaled(w_.d_values, rows, p_.value_size, 1, p_.dtype, address(t_.d_v, key, kv_head_), t_.d_v.token_stride);
  }

  /// P and dS of one panel of queries and one block of keys; adds dS^T's part of dQ.
  void compute_tile(int64_t h, HeadWorkspace& head, int64_t index, int64_t key, const VisibleBlock& block) {
    const QueryPanel& panel = w_.panels[static_cast<size_t>(index)];
    const int64_t key_panel = key / kernel_.rows;
    multiply_rows(kernel_, w_.keys.at(key_panel), kernel_.a_panel_bytes(p_.head_size), block.rows, w_.keys.depth,
                  head.queries.at(index), w_.scores, width_, width_, false);
    multiply_rows(kernel_, w_.values.at(key_panel), kernel_.a_panel_bytes(p_.value_size), block.rows, w_.values.depth,
                  head.d_outputs.at(index), w_.d_weights, width_, width_, false);

    GradientTile tile{};
    ScoreTile& scores = tile.scores;
    scores.scores = w_.scores;
    scores.rows = block.rows, scores.columns = width_, scores.stride = width_;
    scores.padded_rows = kernel_.padded_depth(block.rows);
    scores.scale_log2 = static_cast<float>(p_.scale * std::numbers::log2e);
    scores.form = blocks_.form;
    if (block.masked) {
      relative_ranges(panel, key, width_, w_.relative_first, w_.relative_end);
      scores.first = w_.relative_first, scores.end = w_.relative_end;
    }
    if (p_.dropout.random != nullptr) {
      fill_keep(p_, batch_row_, h, panel, key, block.rows, width_, w_.keep);
      scores.keep = w_.keep;
    }
    tile.d_weights = w_.d_weights;
    tile.logsumexp_log2 = head.logsumexp_log2 + panel.query;
    tile.delta = head.delta + panel.query;
    tile.weight_rows = w_.weight_rows, tile.gradient_rows = w_.gradient_rows;
    tile.gradient_panel = w_.gradient_panel;
    gradient_tile(tile);

    const void* gradients =
        blocks_.form == PanelForm::pairs ? static_cast<const void*>(w_.gradient_panel) : w_.d_weights;
    if (blocks_.form == PanelForm::other) {
      kernel_.pack_b({w_.d_weights, DType::f32, block.rows, width_, width_, 1}, w_.gradient_panel);
      gradients = w_.gradient_panel;
    }
    multiply_rows(kernel_, w_.keys_deep.at(0, key),
                  w_.keys_deep.lanes * w_.keys_deep.depth * w_.keys_deep.element_bytes, p_.head_size,
                  scores.padded_rows, gradients, head.d_queries + index * p_.head_size * width_, width_, width_, true);
  }

  /// Packs the tile's P^T and dS^T as the next piece of depth of the run's left operands.
  void extend_run(Run& run, int64_t index, int64_t rows) {
    const int64_t key_panels = ceil_divide(blocks_.key_block, kernel_.rows);
    if (run.count == 0) {
      run.first = index, run.rows = 0;
      run.first_of_rows.assign(static_cast<size_t>(key_panels), kPanelsPerRun);
    }
    const bool pairs = blocks_.form == PanelForm::pairs;
    const DType dtype = pairs ? DType::bf16 : DType::f32;
    const MatrixView weights{
        pairs ? static_cast<const void*>(w_.weight_rows) : w_.scores, dtype, rows, width_, width_, 1};
    MatrixView gradients = weights;
    gradients.data = pairs ? static_cast<const void*>(w_.gradient_rows) : w_.d_weights;
    for (int64_t panel = 0; panel < key_panels; ++panel) {
      const int64_t first = panel * kernel_.rows, depth = run.count * width_;
      int64_t& first_of_rows = run.first_of_rows[static_cast<size_t>(panel)];
      if (first < rows) {
        blocks_.pack_a(weights.part(first, std::min(kernel_.rows, rows - first), 0, width_),
                       w_.run_weights.at(panel, depth));
        blocks_.pack_a(gradients.part(first, std::min(kernel_.rows, rows - first), 0, width_),
                       w_.run_gradients.at(panel, depth));
        first_of_rows = std::min(first_of_rows, run.count);
      } else if (first_of_rows < run.count) {
        const auto bytes = static_cast<size_t>(kernel_.a_panel_bytes(width_));
        std::memset(w_.run_weights.at(panel, depth), 0, bytes);
        std::memset(w_.run_gradients.at(panel, depth), 0, bytes);
      }
    }
    run.rows = std::max(run.rows, rows);
    ++run.count;
  }

  /// dV += P^T dO and dK += dS^T Q for the panels of the run.
  void finish_run(HeadWorkspace& head, Run& run) {
    for (int64_t row = 0; row < run.rows; row += kernel_.rows) {
      const int64_t panel = row / kernel_.rows, rows = std::min(kernel_.rows, run.rows - row);
      const int64_t first = run.first_of_rows[static_cast<size_t>(panel)];
      const int64_t query = (run.first + first) * width_;
      const int64_t end = std::min((run.first + run.count) * width_, p_.queries);
      const int64_t depth = kernel_.padded_depth(end - query);
      multiply_run(w_.run_weights.at(panel, first * width_), depth, head.d_outputs_deep, query, rows,
                   w_.d_values + row * p_.value_size, p_.value_size);
      multiply_run(w_.run_gradients.at(panel, first * width_), depth, head.queries_deep, query, rows,
                   w_.d_keys + row * p_.head_size, p_.head_size);
    }
    run.count = 0;
  }

  void multiply_run(const std::byte* a, int64_t depth, const PanelStack& b, int64_t query, int64_t rows, float* target,
                    int64_t columns) {
    for (int64_t column = 0; column < columns; column += width_) {
      kernel_.multiply(depth, a, b.at(column / width_, query), target + column, columns, rows,
                       std::min(width_, columns - column), true);
    }
  }

  void store_d_queries(int64_t h, const HeadWorkspace& head) {
    std::fill_n(w_.factors, width_, static_cast<float>(p_.scale));
    for (size_t i = 0; i < w_.panels.size(); ++i) {
      const QueryPanel& panel = w_.panels[i];
      store_transposed(head.d_queries + static_cast<int64_t>(i) * p_.head_size * width_, p_.head_size, panel.count,
                       width_, w_.factors, p_.dtype, address(t_.d_q, panel.query, h), t_.d_q.token_stride);
    }
  }

  const AttentionProblem& p_;
  const AttentionBackward& t_;
  const AttentionBlocks& blocks_;
  const MicroKernel& kernel_;
  const int64_t width_;
  const int64_t batch_row_, kv_head_;
  BackwardWorkspace w_;
};

}  // namespace

void attention_backward(const AttentionProblem& problem, const AttentionBackward& tensors,
                        const AttentionBlocks& blocks) {
  const size_t bytes = BackwardWorkspace(problem, blocks, nullptr).bytes;
  parallel_with_workspace(problem.batch * problem.kv_heads, bytes, [&](int64_t item, std::byte* base) {
    BackwardItem(problem, tensors, blocks, item / problem.kv_heads, item % problem.kv_heads, base).compute();
  });
}

}  // namespace fledge::tensor::cpu
