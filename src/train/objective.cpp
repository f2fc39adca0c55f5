#include "train/objective.h"

#include "base/error.h"
#include "grad/linear_cross_entropy.h"

namespace fledge::train {

models::ForwardInput forward_input(const Batch& batch) {
  models::ForwardInput input;
  input.ids = batch.at("ids");
  if (batch.has("positions")) input.positions = batch.at("positions");
  if (batch.has("document_starts")) input.document_starts = batch.at("document_starts");
  if (batch.has("document_ends")) input.document_ends = batch.at("document_ends");
  if (batch.has("token_types")) input.token_types = batch.at("token_types");
  return input;
}

ObjectiveResult NextToken::evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                    double scale) const {
  models::require_causal(model, "learn to predict the next token");
  models::ForwardOutput output = model.forward(graph, forward_input(batch));
  const tensor::Tensor targets = batch.at("targets").reshape({-1});
  const models::Head head = model.head();
  grad::HeadLoss result =
      grad::linear_cross_entropy(graph, output.hidden, *head.weight, head.layout, targets, scale, head.bias);
  return {result.loss, result.token_losses};
}

std::unique_ptr<Objective> make_objective(const std::string& kind) {
  if (kind == "next_token") return std::make_unique<NextToken>();
  throw base::UsageError("objective.kind is \"{}\"; it can be next_token", kind);
}

}  // namespace fledge::train
