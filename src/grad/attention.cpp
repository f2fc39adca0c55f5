#include "grad/attention.h"

#include <cmath>

#include "base/error.h"
#include "tensor/attention.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

/// One of the three parts of qkv [B, T, 3 H D], as [B, T, H, D].
Tensor part(const Tensor& qkv, int64_t index, int64_t heads) {
  const int64_t width = qkv.dim(2) / 3;
  return qkv.reshape({qkv.dim(0), qkv.dim(1), 3, heads, width / heads}).select(2, index);
}

/// Attention in generation: q [1, N, H, D], k and v [1, N, Hkv, D].
Variable cached_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                          const AttentionOptions& options) {
  if (q.dim(0) != 1 || graph.recording()) {
    throw base::Error("[attention] pages of keys and values need a batch of one row and no recording, got {} rows",
                      q.dim(0));
  }
  Tensor out = graph.empty_activation({q.dim(1), q.dim(2), v.dim(3)});
  tensor::paged_attention(q.select(0, 0), k.select(0, 0), v.select(0, 0), *options.cache, options.sequences, scale,
                          out);
  return Variable(out.reshape({1, q.dim(1), q.dim(2) * v.dim(3)}));
}

}  // namespace

Variable packed_attention(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options) {
  const Tensor input = qkv.value();
  if (input.rank() != 3 || input.dim(2) % (3 * heads) != 0) {
    throw base::Error("[attention] got qkv {}, expected [B, T, 3 H D] with H = {}", input.shape().text(), heads);
  }
  const int64_t batch = input.dim(0), tokens = input.dim(1), width = input.dim(2) / 3, head_size = width / heads;
  const Tensor q = part(input, 0, heads);
  const Tensor k = part(input, 1, heads), v = part(input, 2, heads);
  const double scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(head_size));
  if (options.cache != nullptr) return cached_attention(graph, q, k, v, scale, options);

  tensor::AttentionOptions kernel;
  kernel.causal = options.causal;
  kernel.scale = scale;
  kernel.document_starts = options.document_starts;
  std::shared_ptr<base::Random> random;
  if (graph.recording() && options.dropout > 0.0) {
    kernel.dropout = options.dropout;
    random = std::make_shared<base::Random>(graph.next_random());
    kernel.random = random.get();
    kernel.first_sample = graph.random_state().first_sample;
  }
  Tensor out = graph.empty_activation({batch, tokens, width});
  Tensor out_heads = out.reshape({batch, tokens, heads, head_size});
  Tensor logsumexp = graph.recording() ? graph.empty({batch, heads, tokens}, graph.parameter_type()) : Tensor();
  tensor::attention_forward(q, k, v, kernel, out_heads, logsumexp);

  Variable result(out, graph.recording() && qkv.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("attention", {}, [&graph, qkv, result, heads, kernel, random, out_heads, logsumexp]() mutable {
    Tensor d_out = result.take_gradient();
    if (!d_out) return;
    Tensor d_qkv = graph.empty_activation(qkv.shape());
    Tensor d_q = part(d_qkv, 0, heads), d_k = part(d_qkv, 1, heads), d_v = part(d_qkv, 2, heads);
    const Tensor saved = qkv.value();
    tensor::attention_backward(part(saved, 0, heads), part(saved, 1, heads), part(saved, 2, heads), out_heads,
                               d_out.reshape(out_heads.shape()), logsumexp, kernel, d_q, d_k, d_v);
    qkv.add_gradient(std::move(d_qkv), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
