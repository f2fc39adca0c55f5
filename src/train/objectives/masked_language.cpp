#include "train/objectives/masked_language.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "grad/dropout.h"
#include "grad/losses.h"
#include "tensor/argmax.h"
#include "tensor/elementwise.h"
#include "tensor/sum.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

/// How many rows of logits are right: {right, counted}.
std::vector<double> hits(const Tensor& logits, const Tensor& targets) {
  const std::vector<int32_t> found = tensor::argmax_rows(logits), wanted = targets.to_vector<int32_t>();
  double right = 0.0, counted = 0.0;
  for (size_t row = 0; row < found.size(); ++row) {
    if (wanted[row] < 0) continue;
    counted += 1.0;
    right += found[row] == wanted[row] ? 1.0 : 0.0;
  }
  return {right, counted};
}

/// The same over the whole vocabulary, some rows at a time.
std::vector<double> masked_hits(grad::Graph& graph, models::LanguageModel& model, const Tensor& hidden,
                                const Tensor& targets) {
  constexpr int64_t kRows = 256;
  std::vector<double> all = {0.0, 0.0};
  for (int64_t first = 0; first < hidden.dim(0); first += kRows) {
    const int64_t count = std::min(kRows, hidden.dim(0) - first);
    const grad::Variable rows(hidden.slice(0, first, count));
    const std::vector<double> some = hits(models::logits(graph, model, rows).value(), targets.slice(0, first, count));
    all[0] += some[0];
    all[1] += some[1];
  }
  return all;
}

/// [a.size + b.size], b times a factor.
Tensor joined(grad::Graph& graph, const Tensor& a, const Tensor& b, double factor) {
  Tensor all = graph.empty({a.elements() + b.elements()}, a.dtype());
  tensor::copy(a, all.slice(0, 0, a.elements()));
  Tensor behind = all.slice(0, a.elements(), b.elements());
  tensor::copy(b, behind);
  tensor::scale(behind, factor);
  return all;
}

}  // namespace

void require_bert(const base::Json& config, std::string_view kind) {
  const auto type = base::json_get<std::string>(config, "model_type", "", "config.json");
  if (type != "bert")
    throw base::UsageError("objective.kind = \"{}\" is for an encoder (model.family = \"bert\"), and the model is a {}",
                           kind, type.empty() ? "model of no known type" : type);
}

void MaskedLanguage::adapt_config(base::Json& config) const {
  require_bert(config, "masked_language");
  config["architectures"] = {next_sentence_ ? "BertForPreTraining" : "BertForMaskedLM"};
}

bool MaskedLanguage::may_be_new(std::string_view parameter) const {
  return parameter.starts_with("cls.") || parameter.find("pooler.") != parameter.npos;
}

ObjectiveResult MaskedLanguage::evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                         double scale) const {
  const models::ForwardOutput output = model.forward(graph, forward_input(batch));
  const models::Head head = model.head();
  const Tensor& targets = batch.at("targets");
  const grad::HeadLoss masked =
      grad::linear_cross_entropy(graph, output.hidden, *head.weight, head.layout, targets, scale, head.bias);
  const bool counts = targets.device() != tensor::Device::meta;
  ObjectiveResult result{masked.loss, masked.token_losses, {}};
  if (counts && !graph.recording())
    result.sums["masked_accuracy"] = masked_hits(graph, model, output.hidden.value(), targets);
  if (!next_sentence_) return result;

  const grad::Variable& answers = output.named.at("next_sentence");
  const Tensor& labels = batch.at("next_sentence");
  double texts = static_cast<double>(labels.elements());
  if (counts) {
    const std::vector<double> right = hits(answers.value(), labels);
    texts = right[1];
    result.sums["next_sentence_accuracy"] = right;
    result.sums["masked_loss"] = {tensor::sum(masked.token_losses), static_cast<double>(targets.elements())};
  }
  if (texts == 0.0) return result;
  const double weight = static_cast<double>(batch.target_tokens) / texts;
  const grad::HeadLoss pairs = grad::cross_entropy(graph, answers, labels, scale * weight);
  result.loss = grad::add(graph, masked.loss, pairs.loss);
  result.token_losses = joined(graph, masked.token_losses, pairs.token_losses, weight);
  return result;
}

}  // namespace fledge::train
