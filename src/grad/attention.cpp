#include "grad/attention.h"

#include <cmath>

#include "base/error.h"
#include "tensor/attention.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

/// Queries [B, Tq, H, D], keys [B, Tk, Hkv, D] and values [B, Tk, Hkv, Dv], or their gradients.
struct Heads {
  Tensor q, k, v;
};

/// The three parts of qkv [B, T, (H + 2 Hkv) D].
Heads split(const Tensor& qkv, int64_t heads, int64_t key_heads) {
  const int64_t all = heads + 2 * key_heads;
  const Tensor by_head = qkv.reshape({qkv.dim(0), qkv.dim(1), all, qkv.dim(2) / all});
  return {by_head.slice(2, 0, heads), by_head.slice(2, heads, key_heads),
          by_head.slice(2, heads + key_heads, key_heads)};
}

/// Attention in generation: a batch of one row.
Variable cached_attention(Graph& graph, const Heads& in, double scale, const AttentionOptions& options) {
  const auto& [q, k, v] = in;
  if (q.dim(0) != 1 || graph.recording()) {
    throw base::Error("[attention] pages of keys and values need a batch of one row and no recording, got {} rows",
                      q.dim(0));
  }
  Tensor out = graph.empty_activation({q.dim(1), q.dim(2), v.dim(3)});
  tensor::paged_attention(q.select(0, 0), k.select(0, 0), v.select(0, 0), *options.cache, options.sequences, scale, out,
                          options.window);
  return Variable(out.reshape({1, q.dim(1), q.dim(2) * v.dim(3)}));
}

/// Makes room for the gradients, has them computed, and hands them to the operation's inputs.
using Deliver = std::function<void(const std::function<void(Heads&)>& compute)>;

/// What both forms of the operation do; `flows` says whether an input wants its gradient.
Variable attend(Graph& graph, const Heads& in, bool flows, const AttentionOptions& options, Deliver deliver) {
  const int64_t batch = in.q.dim(0), tokens = in.q.dim(1), heads = in.q.dim(2), value_size = in.v.dim(3);
  const double scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(in.q.dim(3)));
  if (options.cache != nullptr) return cached_attention(graph, in, scale, options);

  tensor::AttentionOptions kernel;
  kernel.causal = options.causal;
  kernel.scale = scale;
  kernel.document_starts = options.document_starts;
  kernel.document_ends = options.document_ends;
  kernel.window = options.window;
  std::shared_ptr<base::Random> random;
  if (graph.recording() && options.dropout > 0.0) {
    kernel.dropout = options.dropout;
    random = std::make_shared<base::Random>(graph.next_random());
    kernel.random = random.get();
    kernel.first_sample = graph.random_state().first_sample;
  }
  Tensor out = graph.empty_activation({batch, tokens, heads * value_size});
  Tensor out_heads = out.reshape({batch, tokens, heads, value_size});
  Tensor logsumexp = graph.recording() ? graph.empty({batch, heads, tokens}, graph.parameter_type()) : Tensor();
  tensor::attention_forward(in.q, in.k, in.v, kernel, out_heads, logsumexp);

  Variable result(out, graph.recording() && flows);
  if (!result.requires_gradient()) return result;
  graph.record("attention", {},
               [in, result, kernel, random, out_heads, logsumexp, deliver = std::move(deliver)]() mutable {
                 Tensor d_out = result.take_gradient();
                 if (!d_out) return;
                 deliver([&](Heads& d) {
                   tensor::attention_backward(in.q, in.k, in.v, out_heads, d_out.reshape(out_heads.shape()), logsumexp,
                                              kernel, d.q, d.k, d.v);
                 });
               });
  return result;
}

}  // namespace

Variable attention(Graph& graph, const Variable& q, const Variable& k, const Variable& v,
                   const AttentionOptions& options) {
  for (const Variable& operand : {q, k, v}) {
    if (operand.shape().rank() != 4) {
      throw base::Error("[attention] got {}, expected [B, T, H, D]", operand.shape().text());
    }
  }
  const bool flows = q.requires_gradient() || k.requires_gradient() || v.requires_gradient();
  return attend(graph, {q.value(), k.value(), v.value()}, flows, options,
                [&graph, q, k, v](const std::function<void(Heads&)>& compute) {
                  Heads d{graph.empty_activation(q.shape()), graph.empty_activation(k.shape()),
                          graph.empty_activation(v.shape())};
                  compute(d);
                  q.add_gradient(std::move(d.q), graph.arena());
                  k.add_gradient(std::move(d.k), graph.arena());
                  v.add_gradient(std::move(d.v), graph.arena());
                });
}

Variable packed_attention(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options,
                          int64_t key_heads) {
  if (key_heads == 0) key_heads = heads;
  const Tensor input = qkv.value();
  if (input.rank() != 3 || input.dim(2) % (heads + 2 * key_heads) != 0) {
    throw base::Error("[attention] got qkv {}, expected [B, T, (H + 2 Hkv) D] with H = {} and Hkv = {}",
                      input.shape().text(), heads, key_heads);
  }
  return attend(graph, split(input, heads, key_heads), qkv.requires_gradient(), options,
                [&graph, qkv, heads, key_heads](const std::function<void(Heads&)>& compute) {
                  Tensor d_qkv = graph.empty_activation(qkv.shape());
                  Heads d = split(d_qkv, heads, key_heads);
                  compute(d);
                  d = {};
                  qkv.add_gradient(std::move(d_qkv), graph.arena());
                });
}

}  // namespace fledge::grad
