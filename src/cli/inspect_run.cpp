#include <algorithm>

#include "base/error.h"
#include "cli/ids.h"
#include "cli/inspect.h"
#include "cli/loaded_model.h"
#include "grad/linear_cross_entropy.h"
#include "models/formats/safetensors.h"

namespace fledge::cli {
namespace {

using tensor::Tensor;

/// Rows of equal length as i32 [B, T].
Tensor as_tensor(const std::vector<std::vector<int32_t>>& rows, std::string_view flag, tensor::Arena& arena) {
  std::vector<int32_t> flat;
  for (const auto& row : rows) {
    if (row.size() != rows[0].size()) {
      throw base::UsageError("{}: the rows have {} and {} ids; all must be of one length", flag, rows[0].size(),
                             row.size());
    }
    flat.insert(flat.end(), row.begin(), row.end());
  }
  return Tensor::from(flat, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size())}, arena);
}

}  // namespace

void run_logits(const LogitsOptions& options, const CommonOptions&) {
  OpenedModel opened = open_model(options.model, options.precision, false);
  nn::Memory& memory = opened.memory();
  grad::Graph graph(memory.activations, memory.encodings, opened.activation_type, false);
  models::ForwardInput input;
  input.ids = as_tensor(parse_id_rows(options.ids, "--ids"), "--ids", memory.activations);
  const grad::Variable hidden = opened.model().forward(graph, input).hidden;
  const Tensor logits = models::logits(graph, opened.model(), hidden).value();
  models::write_safetensors(options.out, {{"logits", logits}}, {.metadata = {{"format", "pt"}}});
}

void run_grads(const GradsOptions& options, const CommonOptions&) {
  OpenedModel opened = open_model(options.model, options.precision, true);
  nn::Memory& memory = opened.memory();
  models::ForwardInput input;
  input.ids = as_tensor(parse_id_rows(options.ids, "--ids"), "--ids", memory.activations);
  const Tensor targets = as_tensor(parse_id_rows(options.targets, "--targets"), "--targets", memory.activations);
  tensor::require_shape(targets, input.ids.shape(), "--targets");
  const std::vector<int32_t> labels = targets.to_vector<int32_t>();
  const auto counted = std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
  if (counted == 0) throw base::UsageError("--targets: every target is ignored, so there is no loss");

  grad::Graph graph(memory.activations, memory.encodings, opened.activation_type, true);
  const models::Head head = opened.model().head();
  const grad::HeadLoss result =
      grad::linear_cross_entropy(graph, opened.model().forward(graph, input).hidden, *head.weight, head.layout,
                                 targets.reshape({-1}), 1.0 / static_cast<double>(counted));
  graph.backward(result.loss);
  std::vector<models::NamedTensor> tensors{{"loss", result.loss.value()}};
  for (const auto& entry : opened.model().parameters().entries()) {
    tensors.push_back({entry.parameter->name(), entry.parameter->gradient()});
  }
  models::write_safetensors(options.out, tensors, {.metadata = {{"format", "pt"}}});
}

}  // namespace fledge::cli
