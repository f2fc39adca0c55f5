#include "grad/linear_cross_entropy.h"

#include "grad/head_sweep.h"
#include "tensor/cross_entropy.h"
#include "tensor/sum.h"

namespace fledge::grad {

using tensor::Tensor;

HeadLoss linear_cross_entropy(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                              const Tensor& targets, double scale, Parameter* bias, const Tensor& token_weights) {
  const HeadRows rows = rows_with_targets(graph, x.value(), targets, weight, layout, "linear_cross_entropy");
  Tensor weights;
  if (token_weights) {
    tensor::require_shape(token_weights, {rows.all}, "[linear_cross_entropy] token_weights");
    weights = same_rows(graph, token_weights.reshape({rows.all, 1}), rows).reshape({-1});
  }
  const bool needs_d_x = graph.recording() && x.requires_gradient();
  Tensor losses = graph.empty({rows.x.dim(0)}, graph.parameter_type());
  Tensor d_rows =
      sweep_head(graph, rows, weight, layout, bias, needs_d_x,
                 [&](int64_t first, int64_t count, const Tensor& logits, const Tensor& d_logits) {
                   tensor::cross_entropy(logits, rows.targets.slice(0, first, count), losses.slice(0, first, count),
                                         scale, d_logits, weights ? weights.slice(0, first, count) : Tensor());
                 });
  const double loss = scale * (weights ? tensor::dot(losses, weights) : tensor::sum(losses));
  return {record_head_loss(graph, "linear_cross_entropy", loss, x, rows, d_rows, weight, bias),
          for_all_rows(graph, losses, rows)};
}

Tensor linear_token_losses(Graph& graph, const Tensor& x, Parameter& weight, WeightLayout layout, const Tensor& targets,
                           Parameter* bias) {
  Graph plain = graph.sibling(false);
  return linear_cross_entropy(plain, Variable(x), weight, layout, targets, 1.0, bias).token_losses;
}

}  // namespace fledge::grad
