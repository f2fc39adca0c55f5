#include "grad/attention_scores.h"

#include <cmath>

#include "base/error.h"
#include "tensor/attention_mask.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

/// The queries and keys of qkv [B, T, (H + 2 Hkv) D], or their gradients.
struct Projections {
  Tensor by_head;  ///< [B, T, H + 2 Hkv, D]
  int64_t heads, key_heads;

  Projections(const Tensor& qkv, int64_t query_heads, int64_t all)
      : by_head(qkv.reshape({qkv.dim(0), qkv.dim(1), all, qkv.dim(2) / all})),
        heads(query_heads),
        key_heads((all - query_heads) / 2) {}

  /// [T, D]
  Tensor query(int64_t row, int64_t head) const { return by_head.select(0, row).select(1, head); }
  Tensor key(int64_t row, int64_t head) const {
    return by_head.select(0, row).select(1, heads + head / (heads / key_heads));
  }
};

/// Calls body(row, head, scores [T, T]) for every head.
template <typename Body>
void for_each_head(const Tensor& scores, const Body& body) {
  for (int64_t row = 0; row < scores.dim(0); ++row) {
    for (int64_t head = 0; head < scores.dim(1); ++head) {
      Tensor one = scores.select(0, row).select(0, head);
      body(row, head, one);
    }
  }
}

tensor::AttentionOptions kernel_options(const AttentionOptions& options) {
  tensor::AttentionOptions kernel;
  kernel.causal = options.causal;
  kernel.document_starts = options.document_starts;
  kernel.document_ends = options.document_ends;
  kernel.window = options.window;
  return kernel;
}

}  // namespace

Variable attention_scores(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options,
                          int64_t key_heads) {
  if (key_heads == 0) key_heads = heads;
  const Tensor input = qkv.value();
  const int64_t all = heads + 2 * key_heads;
  if (input.rank() != 3 || input.dim(2) % all != 0) {
    throw base::Error("[attention_scores] got qkv {}, expected [B, T, (H + 2 Hkv) D] with H = {} and Hkv = {}",
                      input.shape().text(), heads, key_heads);
  }
  const Projections in(input, heads, all);
  const int64_t batch = input.dim(0), tokens = input.dim(1), size = in.by_head.dim(3);
  const double scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(size));
  const tensor::AttentionOptions mask = kernel_options(options);
  Tensor scores = graph.empty({batch, heads, tokens, tokens}, graph.parameter_type());
  for_each_head(scores, [&](int64_t row, int64_t head, Tensor& one) {
    tensor::matmul(in.query(row, head), in.key(row, head).transpose(0, 1), graph.precision(), one);
  });
  tensor::scale(scores, scale);
  tensor::clear_unseen(scores, mask);

  Variable result(scores, graph.recording() && qkv.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("attention_scores", {}, [&graph, qkv, result, heads, all, mask, scale]() {
    Tensor d_scores = result.take_gradient();
    if (!d_scores) return;
    if (!d_scores.is_sole_owner()) {
      Tensor own = graph.empty(d_scores.shape(), d_scores.dtype());
      tensor::copy(d_scores, own);
      d_scores = own;
    }
    tensor::scale(d_scores, scale);
    tensor::clear_unseen(d_scores, mask);
    Tensor d_qkv = Tensor::zeros(qkv.shape(), qkv.dtype(), graph.arena());
    const Projections values(qkv.value(), heads, all), gradients(d_qkv, heads, all);
    const int64_t group = gradients.heads / gradients.key_heads;
    for_each_head(d_scores, [&](int64_t row, int64_t head, const Tensor& one) {
      Tensor d_query = gradients.query(row, head), d_key = gradients.key(row, head);
      tensor::matmul(one, values.key(row, head), graph.precision(), d_query);
      // Query heads of a group share a head of keys.
      tensor::matmul(one.transpose(0, 1), values.query(row, head), graph.precision(), d_key,
                     {.accumulate = head % group != 0});
    });
    qkv.add_gradient(std::move(d_qkv), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
