#include "train/objectives/preference.h"

#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "grad/linear_cross_entropy.h"
#include "models/formats/safetensors.h"
#include "tensor/sum.h"
#include "train/objectives/chat.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

constexpr const char* kReferenceFile = "reference.safetensors";
constexpr const char* kTensor = "log_probabilities";
constexpr const char* kIdentity = "identity";

const ChatSource& chat_source(const BatchSource& source) {
  const auto* chats = dynamic_cast<const ChatSource*>(&source);
  if (chats == nullptr) throw base::Error("a preference objective learns from pairs of answers");
  return *chats;
}

/// What the reference's numbers depend on: the model's values, the data and how it is cut, and the arithmetic.
std::string identity_of(const RunContext& run, const BatchSource& source, int64_t row_length) {
  uint64_t hash = base::stable_hash(source.identity());
  hash = base::stable_hash(fmt::format("{} {}", row_length, tensor::name_of(run.activation_type)), hash);
  for (const auto& entry : run.model.parameters().entries()) {
    const Tensor& value = entry.parameter->value();
    if (!value || entry.options.auxiliary) continue;
    const std::string_view bytes(reinterpret_cast<const char*>(value.raw()),
                                 static_cast<size_t>(value.elements()) * tensor::size_of(value.dtype()));
    hash = base::stable_hash(bytes, hash);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

/// The pairs of a micro-batch.
struct Preference::Pairs {
  std::vector<PairScores> scores;
  std::vector<int64_t> pieces;  ///< of each, where it stands in the batch
};

Preference::Preference(const std::string& kind, const PreferenceOptions& options, const BatchSource& source)
    : kind_(kind), options_(options), source_(chat_source(source)), loss_(make_preference_loss(kind, options)) {}

void Preference::adapt_config(base::Json& config) const {
  fit_vocabulary(config, source_.tokenizer());
}

Preference::Pairs Preference::score(const Batch& batch, const Tensor& token_losses) const {
  Pairs pairs;
  const Tensor& examples = batch.at("examples");
  if (examples.device() == tensor::Device::meta) return pairs;
  const int64_t count = examples.elements();
  std::vector<double> log_probabilities(static_cast<size_t>(2 * count), 0.0);
  std::vector<int64_t> tokens(static_cast<size_t>(2 * count), 0);
  const auto* sequences = batch.at("sequences").data<int32_t>();
  for (int64_t place = 0; place < token_losses.elements(); ++place) {
    if (sequences[place] < 0) continue;
    const auto sequence = static_cast<size_t>(sequences[place]);
    const bool is_wide = token_losses.dtype() == tensor::DType::f64;
    log_probabilities[sequence] -=
        is_wide ? token_losses.data<double>()[place] : static_cast<double>(token_losses.data<float>()[place]);
    ++tokens[sequence];
  }
  for (int64_t piece = 0; piece < count; ++piece) {
    const int32_t example = examples.data<int32_t>()[piece];
    if (example < 0) continue;
    const auto first = static_cast<size_t>(2 * piece), second = first + 1;
    PairScores scores{log_probabilities[first],
                      log_probabilities[second],
                      0.0,
                      0.0,
                      tokens[first],
                      tokens[second],
                      batch.at("labels").data<int32_t>()[piece]};
    if (!reference_.empty()) {
      scores.first_reference = reference_[2 * static_cast<size_t>(example)];
      scores.second_reference = reference_[2 * static_cast<size_t>(example) + 1];
    }
    pairs.scores.push_back(scores);
    pairs.pieces.push_back(piece);
  }
  return pairs;
}

/// The derivative of the loss by each token's own loss, which is minus its log-probability.
Tensor Preference::token_weights(grad::Graph& graph, const Batch& batch, const Pairs& pairs,
                                 const std::vector<PairLoss>& losses) const {
  const Tensor& sequences = batch.at("sequences");
  Tensor weights = Tensor::zeros({sequences.elements()}, graph.parameter_type(), graph.arena());
  if (sequences.device() == tensor::Device::meta) return weights;
  std::vector<double> slopes(static_cast<size_t>(2 * batch.at("examples").elements()), 0.0);
  for (size_t index = 0; index < losses.size(); ++index) {
    const auto first = static_cast<size_t>(2 * pairs.pieces[index]);
    slopes[first] = -losses[index].d_first;
    slopes[first + 1] = -losses[index].d_second;
  }
  for (int64_t place = 0; place < sequences.elements(); ++place) {
    const int32_t sequence = sequences.data<int32_t>()[place];
    const double weight = sequence < 0 ? 0.0 : slopes[static_cast<size_t>(sequence)];
    if (weights.dtype() == tensor::DType::f64) {
      weights.data<double>()[place] = weight;
    } else {
      weights.data<float>()[place] = static_cast<float>(weight);
    }
  }
  return weights;
}

Sums Preference::sums_of(const Pairs& pairs) const {
  Sums sums;
  const auto add = [&](const char* name, double value) {
    std::vector<double>& total = sums.try_emplace(name, std::vector<double>{0.0, 0.0}).first->second;
    total[0] += value;
    total[1] += 1.0;
  };
  const auto names =
      loss_->needs_reference() && kind_ == "kto"
          ? std::vector<const char*>{"rewards_desirable", "rewards_undesirable"}
          : std::vector<const char*>{"rewards_accuracy", "rewards_chosen", "rewards_margin", "rewards_rejected"};
  for (const char* name : names) sums[name] = {0.0, 0.0};
  for (const PairScores& pair : pairs.scores) {
    double first = pair.first - pair.first_reference, second = pair.second - pair.second_reference;
    if (kind_ == "orpo") {
      first /= static_cast<double>(std::max<int64_t>(1, pair.first_tokens));
      second /= static_cast<double>(std::max<int64_t>(1, pair.second_tokens));
    }
    first *= options_.beta;
    second *= options_.beta;
    if (kind_ == "kto") {
      add(pair.label == 1 ? "rewards_desirable" : "rewards_undesirable", first);
      continue;
    }
    add("rewards_chosen", first);
    add("rewards_rejected", second);
    add("rewards_margin", first - second);
    add("rewards_accuracy", first > second ? 1.0 : 0.0);
  }
  return sums;
}

ObjectiveResult Preference::evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                     double scale) const {
  models::require_causal(model, "learn from pairs of answers");
  const models::ForwardOutput output = model.forward(graph, forward_input(batch));
  const Tensor targets = batch.at("targets").reshape({-1});
  const models::Head head = model.head();
  const Tensor token_losses =
      grad::linear_token_losses(graph, output.hidden.value(), *head.weight, head.layout, targets, head.bias);
  const Pairs pairs = score(batch, token_losses);
  if (loss_->needs_reference() && reference_.empty() && !pairs.scores.empty())
    throw base::Error("the log-probabilities of the reference model were not computed");
  const std::vector<PairLoss> losses = loss_->evaluate(pairs.scores);

  ObjectiveResult result;
  std::vector<double> pair_losses(static_cast<size_t>(batch.at("examples").elements()), 0.0);
  for (size_t index = 0; index < losses.size(); ++index)
    pair_losses[static_cast<size_t>(pairs.pieces[index])] = losses[index].loss;
  result.token_losses = Tensor::from(pair_losses, {static_cast<int64_t>(pair_losses.size())}, graph.arena());
  result.sums = sums_of(pairs);
  if (!graph.recording()) return result;
  const Tensor weights = token_weights(graph, batch, pairs, losses);
  result.loss =
      grad::linear_cross_entropy(graph, output.hidden, *head.weight, head.layout, targets, scale, head.bias, weights)
          .loss;
  return result;
}

std::vector<float> Preference::compute_reference(const RunContext& run) const {
  std::vector<float> reference(static_cast<size_t>(2 * source_.examples()), 0.0F);
  Batch batch;
  for (int64_t index = run.processes.rank(); index < source_.passes(run.rows); index += run.processes.size()) {
    source_.load_pass(index, run.rows, run.memory.activations, batch);
    grad::Graph graph(run.memory.activations, run.memory.encodings, run.activation_type, false);
    const Tensor hidden = run.model.forward(graph, forward_input(batch)).hidden.value();
    const models::Head head = run.model.head();
    const Tensor losses = grad::linear_token_losses(graph, hidden, *head.weight, head.layout,
                                                    batch.at("targets").reshape({-1}), head.bias);
    const Pairs pairs = score(batch, losses);
    for (size_t pair = 0; pair < pairs.scores.size(); ++pair) {
      const auto example = static_cast<size_t>(batch.at("examples").data<int32_t>()[pairs.pieces[pair]]);
      reference[2 * example] = static_cast<float>(pairs.scores[pair].first);
      reference[2 * example + 1] = static_cast<float>(pairs.scores[pair].second);
    }
  }
  const Tensor all = Tensor::from(reference, {static_cast<int64_t>(reference.size())}, run.memory.activations);
  run.processes.all_reduce_sum(all);
  return all.to_vector<float>();
}

void Preference::begin(const RunContext& run) {
  if (!loss_->needs_reference()) return;
  const std::filesystem::path file = run.folder / kReferenceFile;
  const std::string identity = identity_of(run, source_, source_.row_length());
  const tensor::Shape shape{source_.examples(), 2};
  if (std::filesystem::exists(file)) {
    const auto reader = models::SafetensorsReader::open(file);
    const auto found = reader.metadata().find(kIdentity);
    if (found != reader.metadata().end() && found->second == identity) {
      const Tensor stored = Tensor::empty(shape, tensor::DType::f32, run.memory.activations);
      reader.read_into(kTensor, stored);
      reference_ = stored.to_vector<float>();
      return;
    }
  }
  reference_.clear();
  reference_ = compute_reference(run);
  if (run.processes.rank() == 0) {
    models::write_safetensors(file, {{kTensor, Tensor::from(reference_, shape, run.memory.activations)}},
                              {.metadata = {{kIdentity, identity}}});
  }
  run.processes.barrier();
}

}  // namespace fledge::train
