#include "train/objectives/next_token.h"

#include "grad/linear_cross_entropy.h"

namespace fledge::train {

ObjectiveResult NextToken::evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                    double scale) const {
  models::require_causal(model, "learn to predict the next token");
  models::ForwardOutput output = model.forward(graph, forward_input(batch));
  const tensor::Tensor targets = batch.at("targets").reshape({-1});
  const models::Head head = model.head();
  grad::HeadLoss result =
      grad::linear_cross_entropy(graph, output.hidden, *head.weight, head.layout, targets, scale, head.bias);
  return {result.loss, result.token_losses, {}};
}

}  // namespace fledge::train
