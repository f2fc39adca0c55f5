#include "train/objectives/classify.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "grad/losses.h"
#include "tensor/argmax.h"
#include "train/label_metrics.h"
#include "train/objectives/masked_language.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

constexpr const char* kConfusion = "confusion";
constexpr const char* kScores = "scores";
constexpr size_t kMostLabelsShown = 24;  // a wider matrix does not fit a terminal

std::vector<double> wide_values(const Tensor& values) {
  if (values.dtype() == tensor::DType::f64) return values.to_vector<double>();
  const std::vector<float> narrow = values.to_vector<float>();
  return {narrow.begin(), narrow.end()};
}

}  // namespace

void Classify::adapt_config(base::Json& config) const {
  require_bert(config, "classify");
  config["architectures"] = {task_ == LabelTask::tokens ? "BertForTokenClassification"
                                                        : "BertForSequenceClassification"};
  config.erase("num_labels");
  base::Json names = base::Json::object(), ids = base::Json::object();
  const std::vector<std::string> labels =
      task_ == LabelTask::regression ? std::vector<std::string>{"LABEL_0"} : labels_;
  for (size_t id = 0; id < labels.size(); ++id) {
    names[std::to_string(id)] = labels[id];
    ids[labels[id]] = id;
  }
  config["id2label"] = std::move(names);
  config["label2id"] = std::move(ids);
  if (task_ != LabelTask::tokens)
    config["problem_type"] = task_ == LabelTask::regression ? "regression" : "single_label_classification";
}

bool Classify::may_be_new(std::string_view parameter) const {
  return parameter.starts_with("classifier.") || parameter.find("pooler.") != parameter.npos;
}

/// Of a step how many are right, of an evaluation the whole matrix.
void Classify::count_labels(const Tensor& logits, const Batch& batch, bool training, Sums& sums) const {
  const auto width = static_cast<int64_t>(labels_.size());
  const std::vector<int32_t> found = tensor::argmax_rows(logits.reshape({-1, width}));
  const std::vector<int32_t> labels = batch.at("labels").to_vector<int32_t>();
  double right = 0.0, counted = 0.0;
  Confusion confusion(training ? 0 : labels_.size());
  for (size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] < 0) continue;
    counted += 1.0;
    right += found[row] == labels[row] ? 1.0 : 0.0;
    if (!training) confusion.add(labels[row], found[row]);
  }
  if (training) {
    sums["accuracy"] = {right, counted};
  } else {
    sums[kConfusion] = confusion.counts();
  }
}

/// Every example of the validation has a place of its own for its number and for what was found, so that they add up.
void Classify::note_scores(const Tensor& found, const Batch& batch, Sums& sums) const {
  if (!batch.has("examples")) return;
  const std::vector<int32_t> examples = batch.at("examples").to_vector<int32_t>();
  const std::vector<double> scores = wide_values(found), numbers = wide_values(batch.at("scores"));
  std::vector<double> all(static_cast<size_t>(2 * validation_examples_));
  for (size_t row = 0; row < examples.size(); ++row) {
    const auto place = static_cast<size_t>(examples[row]);
    all[place] = numbers[row];
    all[place + static_cast<size_t>(validation_examples_)] = scores[row];
  }
  sums[kScores] = std::move(all);
}

ObjectiveResult Classify::evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                   double scale) const {
  const models::ForwardOutput output = model.forward(graph, forward_input(batch));
  const grad::Variable& logits = output.named.at("logits");
  const bool counts = logits.value().device() != tensor::Device::meta;
  ObjectiveResult result;
  if (task_ == LabelTask::regression) {
    const grad::HeadLoss loss = grad::squared_error(graph, logits, batch.at("scores"), scale);
    result = {loss.loss, loss.token_losses, {}};
    if (counts && !graph.recording()) note_scores(logits.value(), batch, result.sums);
    return result;
  }
  const grad::HeadLoss loss = grad::cross_entropy(graph, logits, batch.at("labels"), scale);
  result = {loss.loss, loss.token_losses, {}};
  if (counts) count_labels(logits.value(), batch, graph.recording(), result.sums);
  return result;
}

Metrics Classify::report(const Sums& sums) const {
  Metrics metrics = Objective::report(sums);
  metrics.erase(kScores);
  if (const auto found = sums.find(kConfusion); found != sums.end()) {
    const Confusion confusion(labels_.size(), found->second);
    metrics["accuracy"] = confusion.accuracy();
    metrics["f1_macro"] = confusion.macro_f1();
    metrics["matthews"] = confusion.matthews();
    if (labels_.size() == 2) metrics["f1"] = confusion.f1(1);
  }
  if (const auto found = sums.find(kScores); found != sums.end() && validation_examples_ > 1) {
    const std::span<const double> all(found->second);
    const auto half = static_cast<size_t>(validation_examples_);
    metrics["pearson"] = pearson(all.first(half), all.subspan(half));
    metrics["spearman"] = spearman(all.first(half), all.subspan(half));
  }
  return metrics;
}

std::string Classify::describe(const Sums& sums) const {
  const auto found = sums.find(kConfusion);
  if (found == sums.end() || labels_.size() > kMostLabelsShown) return {};
  return "Rows are the labels, columns what the model says:\n" +
         Confusion(labels_.size(), found->second).table(labels_);
}

}  // namespace fledge::train
