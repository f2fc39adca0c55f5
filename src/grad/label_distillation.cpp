#include "grad/label_distillation.h"

#include "grad/losses.h"
#include "tensor/elementwise.h"
#include "tensor/sum.h"

namespace fledge::grad {

using tensor::Tensor;

DistillationLoss label_distillation(Graph& graph, const Variable& logits, const Tensor& teacher_logits,
                                    const Tensor& targets, const tensor::DistillationSettings& settings, double scale) {
  if (settings.alpha == 0.0) {
    const HeadLoss plain = cross_entropy(graph, logits, targets, scale);
    return {plain.loss, plain.token_losses, plain.token_losses, {}, {}};
  }
  const Tensor rows = logits.value().reshape({-1, logits.shape()[-1]});
  const auto make = [&] { return graph.empty({rows.dim(0)}, rows.dtype()); };
  const tensor::DistillationRows results{make(), make(), make(), make()};
  const bool flows = graph.recording() && logits.requires_gradient();
  Tensor d_logits = flows ? graph.empty(rows.shape(), rows.dtype()) : Tensor();
  tensor::distillation_loss(rows, teacher_logits.reshape(rows.shape()), targets.reshape({-1}), settings, scale, results,
                            d_logits);
  Tensor value = graph.empty({1}, graph.parameter_type());
  tensor::fill(value, scale * tensor::sum(results.losses));
  DistillationLoss loss{Variable(value, flows), results.losses, results.cross_entropies, results.divergences,
                        results.agreements};
  if (flows) {
    graph.record("label_distillation", {}, [&graph, logits, result = loss.loss, d_logits]() mutable {
      result.take_gradient();
      logits.add_gradient(d_logits.reshape(logits.shape()), graph.arena());
      d_logits = Tensor();
    });
  }
  return loss;
}

}  // namespace fledge::grad
