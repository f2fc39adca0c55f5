#include "grad/losses.h"

#include "tensor/cross_entropy.h"
#include "tensor/elementwise.h"
#include "tensor/squared_error.h"
#include "tensor/sum.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

/// The number `scale * sum(losses)`. d_from is the gradient of `from` where the number's own is 1.
HeadLoss recorded(Graph& graph, std::string_view name, const Variable& from, Tensor d_from, const Tensor& losses,
                  double scale) {
  Tensor loss = graph.empty({1}, graph.parameter_type());
  tensor::fill(loss, scale * tensor::sum(losses));
  Variable result(loss, graph.recording() && from.requires_gradient());
  if (result.requires_gradient()) {
    graph.record(name, {}, [&graph, from, result, d_from]() mutable {
      const Tensor d_loss = result.take_gradient();
      if (!d_loss) return;
      const bool has_values = d_loss.device() != tensor::Device::meta;
      if (const double factor = has_values ? tensor::sum(d_loss) : 1.0; factor != 1.0) tensor::scale(d_from, factor);
      from.add_gradient(d_from.reshape(from.shape()), graph.arena());
      d_from = Tensor();
    });
  }
  return {result, losses};
}

}  // namespace

HeadLoss cross_entropy(Graph& graph, const Variable& logits, const Tensor& targets, double scale) {
  const Tensor rows = logits.value().reshape({-1, logits.shape()[-1]});
  Tensor losses = graph.empty({rows.dim(0)}, graph.parameter_type());
  Tensor d_logits;
  if (graph.recording() && logits.requires_gradient()) d_logits = graph.empty(rows.shape(), rows.dtype());
  tensor::cross_entropy(rows, targets.reshape({-1}), losses, scale, d_logits);
  return recorded(graph, "cross_entropy", logits, d_logits, losses, scale);
}

HeadLoss squared_error(Graph& graph, const Variable& scores, const Tensor& targets, double scale) {
  Tensor losses = graph.empty({scores.shape().elements()}, graph.parameter_type());
  Tensor d_scores;
  if (graph.recording() && scores.requires_gradient()) d_scores = graph.empty(scores.shape(), scores.dtype());
  tensor::squared_error(scores.value(), targets, losses, scale, d_scores);
  return recorded(graph, "squared_error", scores, d_scores, losses, scale);
}

}  // namespace fledge::grad
