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

models::ForwardInput forward_input(const IdOptions& options, tensor::Arena& arena) {
  models::ForwardInput input;
  input.ids = as_tensor(parse_id_rows(options.ids, "--ids"), "--ids", arena);
  if (!options.token_types.empty()) {
    input.token_types = as_tensor(parse_id_rows(options.token_types, "--token-types"), "--token-types", arena);
    tensor::require_shape(input.token_types, input.ids.shape(), "--token-types");
  }
  if (options.lengths.empty()) return input;
  const std::vector<int32_t> lengths = parse_ids(options.lengths, "--lengths");
  const int64_t rows = input.ids.dim(0), tokens = input.ids.dim(1);
  if (static_cast<int64_t>(lengths.size()) != rows) {
    throw base::UsageError("--lengths: got {} numbers for {} rows of --ids", lengths.size(), rows);
  }
  std::vector<int32_t> ends;
  for (const int32_t length : lengths) {
    if (length < 1 || length > tokens) {
      throw base::UsageError("--lengths: got {}, expected 1 to the {} tokens of a row", length, tokens);
    }
    ends.insert(ends.end(), static_cast<size_t>(tokens), length);
  }
  input.document_ends = Tensor::from(ends, {rows, tokens}, arena);
  return input;
}

/// The model sees what was asked for, or the verb refuses it.
void check_encoder_options(const IdOptions& options, const models::LanguageModel& model) {
  if (model.is_causal() && !(options.token_types.empty() && options.lengths.empty())) {
    throw base::UsageError("--token-types and --lengths are for encoders; this model reads from left to right");
  }
}

}  // namespace

void run_logits(const LogitsOptions& options, const CommonOptions&) {
  OpenedModel opened = open_model(options.model, options.precision, false);
  nn::Memory& memory = opened.memory();
  grad::Graph graph(memory.activations, memory.encodings, opened.activation_type, false);
  check_encoder_options(options.input, opened.model());
  const models::ForwardOutput output = opened.model().forward(graph, forward_input(options.input, memory.activations));
  std::vector<models::NamedTensor> tensors;
  if (opened.model().predicts_tokens()) {
    tensors.push_back({"logits", models::logits(graph, opened.model(), output.hidden).value()});
  } else {
    tensors.push_back({"hidden", output.hidden.value()});
  }
  for (const auto& [name, value] : output.named) tensors.push_back({name, value.value()});
  models::write_safetensors(options.out, tensors, {.metadata = {{"format", "pt"}}});
}

void run_grads(const GradsOptions& options, const CommonOptions&) {
  OpenedModel opened = open_model(options.model, options.precision, true);
  nn::Memory& memory = opened.memory();
  check_encoder_options(options.input, opened.model());
  const models::ForwardInput input = forward_input(options.input, memory.activations);
  const Tensor targets = as_tensor(parse_id_rows(options.targets, "--targets"), "--targets", memory.activations);
  tensor::require_shape(targets, input.ids.shape(), "--targets");
  const std::vector<int32_t> labels = targets.to_vector<int32_t>();
  const auto counted = std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
  if (counted == 0) throw base::UsageError("--targets: every target is ignored, so there is no loss");

  grad::Graph graph(memory.activations, memory.encodings, opened.activation_type, true);
  const models::Head head = opened.model().head();
  const grad::HeadLoss result =
      grad::linear_cross_entropy(graph, opened.model().forward(graph, input).hidden, *head.weight, head.layout,
                                 targets.reshape({-1}), 1.0 / static_cast<double>(counted), head.bias);
  graph.backward(result.loss);
  std::vector<models::NamedTensor> tensors{{"loss", result.loss.value()}};
  for (const auto& entry : opened.model().parameters().entries()) {
    // A parameter that the loss does not reach (a pooler) has a gradient of zeros.
    grad::Parameter& parameter = *entry.parameter;
    tensors.push_back({parameter.name(), parameter.gradient_to_add_to()});
  }
  models::write_safetensors(options.out, tensors, {.metadata = {{"format", "pt"}}});
}

}  // namespace fledge::cli
