#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "cli/ids.h"
#include "cli/inspect.h"
#include "cli/loaded_model.h"
#include "grad/linear_cross_entropy.h"
#include "grad/losses.h"
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
  OpenedModel opened = open_model(options.model, options.precision, false, options.adapters);
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

namespace {

/// Labels of rows as tensors: i32, or f32 for the one number of a regression.
Tensor parse_labels(const std::string& text, int64_t rows, bool are_numbers, tensor::Arena& arena) {
  std::vector<float> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    float number = 0.0F;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, number);
    if (error != std::errc() || stop != text.data() + end)
      throw base::UsageError("--labels: \"{}\" is not a number", text.substr(begin, end - begin));
    numbers.push_back(number);
    begin = end + 1;
  }
  if (static_cast<int64_t>(numbers.size()) != rows)
    throw base::UsageError("--labels: got {} for {} rows of --ids", numbers.size(), rows);
  if (are_numbers) return Tensor::from(numbers, {rows}, arena);
  return Tensor::from(std::vector<int32_t>(numbers.begin(), numbers.end()), {rows}, arena);
}

/// Mean loss over what the model learns of the input: tokens, labels of texts or of tokens, numbers.
grad::Variable mean_loss(grad::Graph& graph, models::LanguageModel& model, const models::ForwardInput& input,
                         const GradsOptions& options) {
  tensor::Arena& arena = graph.arena();
  if (!options.labels.empty()) {
    const grad::Variable logits = model.forward(graph, input).named["logits"];
    if (!logits || logits.shape().rank() != 2) throw base::UsageError("--labels is for a model that labels texts");
    const int64_t rows = input.ids.dim(0);
    const bool are_numbers = logits.shape()[1] == 1;
    const Tensor labels = parse_labels(options.labels, rows, are_numbers, arena);
    const double scale = 1.0 / static_cast<double>(rows);
    return are_numbers ? grad::squared_error(graph, logits, labels, scale).loss
                       : grad::cross_entropy(graph, logits, labels, scale).loss;
  }
  const Tensor targets = as_tensor(parse_id_rows(options.targets, "--targets"), "--targets", arena);
  tensor::require_shape(targets, input.ids.shape(), "--targets");
  const std::vector<int32_t> all = targets.to_vector<int32_t>();
  const auto counted = std::ranges::count_if(all, [](int32_t label) { return label >= 0; });
  if (counted == 0) throw base::UsageError("--targets: every target is ignored, so there is no loss");
  const double scale = 1.0 / static_cast<double>(counted);
  models::ForwardOutput output = model.forward(graph, input);
  if (const grad::Variable logits = output.named["logits"]; logits && logits.shape().rank() == 3)
    return grad::cross_entropy(graph, logits, targets, scale).loss;
  const models::Head head = model.head();
  return grad::linear_cross_entropy(graph, output.hidden, *head.weight, head.layout, targets.reshape({-1}), scale,
                                    head.bias)
      .loss;
}

}  // namespace

void run_grads(const GradsOptions& options, const CommonOptions&) {
  if (options.targets.empty() == options.labels.empty())
    throw base::UsageError("`fledge grads` needs --targets, or --labels of a model that labels texts");
  OpenedModel opened = open_model(options.model, options.precision, true);
  nn::Memory& memory = opened.memory();
  check_encoder_options(options.input, opened.model());
  const models::ForwardInput input = forward_input(options.input, memory.activations);
  grad::Graph graph(memory.activations, memory.encodings, opened.activation_type, true);
  const grad::Variable loss = mean_loss(graph, opened.model(), input, options);
  graph.backward(loss);
  std::vector<models::NamedTensor> tensors{{"loss", loss.value()}};
  for (const auto& entry : opened.model().parameters().entries()) {
    // A parameter that the loss does not reach (a pooler) has a gradient of zeros.
    grad::Parameter& parameter = *entry.parameter;
    tensors.push_back({parameter.name(), parameter.gradient_to_add_to()});
  }
  models::write_safetensors(options.out, tensors, {.metadata = {{"format", "pt"}}});
}

}  // namespace fledge::cli
