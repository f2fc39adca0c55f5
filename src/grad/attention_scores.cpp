#include "grad/attention_scores.h"

#include <cmath>

#include "base/error.h"
#include "tensor/attention_mask.h"
#include "tensor/elementwise.h"
#include "tensor/feature_loss.h"

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

int64_t all_heads(const Tensor& qkv, int64_t heads, int64_t key_heads, std::string_view operation) {
  const int64_t all = heads + 2 * key_heads;
  if (qkv.rank() != 3 || qkv.dim(2) % all != 0) {
    throw base::Error("[{}] got qkv {}, expected [B, T, (H + 2 Hkv) D] with H = {} and Hkv = {}", operation,
                      qkv.shape().text(), heads, key_heads);
  }
  return all;
}

/// The scores of one head between the queries and keys of a block.
void block_scores(const Projections& in, int64_t row, int64_t head, const tensor::AttentionBlock& block,
                  const AttentionOptions& options, tensor::Precision precision, Tensor& scores) {
  const Tensor query = in.query(row, head).slice(0, block.first_query, block.last_query - block.first_query);
  const Tensor key = in.key(row, head).slice(0, block.first_key, block.last_key - block.first_key);
  tensor::matmul(query, key.transpose(0, 1), precision, scores);
  tensor::scale(scores, options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(query.dim(1))));
  tensor::clear_unseen_block(scores, block.first_query, block.first_key, kernel_options(options));
}

}  // namespace

FeatureLoss attention_score_distance(Graph& graph, const Variable& qkv, int64_t heads, int64_t key_heads,
                                     const OtherProjection& other, const AttentionOptions& options, double scale) {
  constexpr const char* kOperation = "attention_score_distance";
  const Tensor input = qkv.value();
  const Projections own(input, heads, all_heads(input, heads, key_heads, kOperation));
  const Projections target(other.qkv, heads, all_heads(other.qkv, heads, other.key_heads, kOperation));
  const int64_t batch = input.dim(0), tokens = input.dim(1);
  if (other.qkv.dim(0) != batch || other.qkv.dim(1) != tokens) {
    throw base::Error("[{}] got {} and {}, expected as many rows and tokens", kOperation, input.shape().text(),
                      other.qkv.shape().text());
  }
  const bool flows = graph.recording() && qkv.requires_gradient();
  Tensor d_qkv = flows ? Tensor::zeros(qkv.shape(), qkv.dtype(), graph.arena()) : Tensor();
  const double own_scale =
      options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(own.by_head.dim(3)));
  double sum = 0.0;
  for (int64_t row = 0; row < batch; ++row) {
    for (const tensor::AttentionBlock& block : tensor::attention_blocks(row, batch, tokens, kernel_options(options))) {
      const int64_t queries = block.last_query - block.first_query, keys = block.last_key - block.first_key;
      Tensor scores = graph.empty({queries, keys}, graph.parameter_type());
      Tensor wanted = graph.empty({queries, keys}, graph.parameter_type());
      for (int64_t head = 0; head < heads; ++head) {
        block_scores(own, row, head, block, options, graph.precision(), scores);
        block_scores(target, row, head, block, options, graph.precision(), wanted);
        sum += tensor::squared_distance(scores, wanted, {}, scale * own_scale, flows ? scores : Tensor());
        if (!flows) continue;
        const Projections d_own(d_qkv, heads, heads + 2 * key_heads);
        Tensor d_query = d_own.query(row, head).slice(0, block.first_query, queries);
        Tensor d_key = d_own.key(row, head).slice(0, block.first_key, keys);
        tensor::matmul(scores, own.key(row, head).slice(0, block.first_key, keys), graph.precision(), d_query);
        tensor::matmul(scores.transpose(0, 1), own.query(row, head).slice(0, block.first_query, queries),
                       graph.precision(), d_key, {.accumulate = true});
      }
    }
  }
  Tensor value = graph.empty({1}, graph.parameter_type());
  tensor::fill(value, scale * sum);
  FeatureLoss result{Variable(value, flows), sum};
  if (flows) {
    graph.record(kOperation, {}, [&graph, qkv, loss = result.loss, d_qkv]() mutable {
      loss.take_gradient();
      qkv.add_gradient(std::move(d_qkv), graph.arena());
    });
  }
  return result;
}

Variable attention_scores(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options,
                          int64_t key_heads) {
  if (key_heads == 0) key_heads = heads;
  const Tensor input = qkv.value();
  const int64_t all = all_heads(input, heads, key_heads, "attention_scores");
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
