#include "train/objectives/distillation/distillation.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "grad/attention_scores.h"
#include "grad/dropout.h"
#include "grad/feature_loss.h"
#include "grad/label_distillation.h"
#include "grad/linear.h"
#include "grad/losses.h"
#include "tensor/attention_mask.h"
#include "tensor/elementwise.h"
#include "tensor/sum.h"
#include "train/data/sha256.h"
#include "train/data/tokenizer_adapter.h"
#include "train/run_setup.h"

namespace fledge::train {
namespace {

using grad::Variable;
using tensor::Tensor;

constexpr const char* kProjection = "distillation.projection";

}  // namespace

/// The parts of one micro-batch's loss, on their way to become one.
class Distillation::Terms {
 public:
  Terms(grad::Graph& own_graph, const Batch& batch, double step_scale)
      : graph(own_graph), targets(static_cast<double>(batch.target_tokens)), scale(step_scale) {}

  grad::Graph& graph;
  double targets;  ///< of this micro-batch
  double scale;    ///< one over those of the step
  ObjectiveResult result;

  /// A mean over tokens counts with this micro-batch's share of the step's targets.
  double share() const { return targets * scale; }

  void add(const char* name, double weight, double mean, const Variable& loss) {
    show(name, mean * targets);
    unscaled_ += weight * mean * targets;
    result.loss = result.loss ? grad::add(graph, result.loss, loss) : loss;
  }

  void show(const char* name, double total) {
    std::vector<double>& sums = result.sums[name];
    if (sums.empty()) sums = {0.0, targets};
    sums[0] += total;
  }

  /// `predictions`, which already are in the loss, or undefined.
  ObjectiveResult finish(const Tensor& predictions, double weight) {
    if (predictions && unscaled_ == 0.0 && weight == 1.0) {
      result.token_losses = predictions;
      return std::move(result);
    }
    result.token_losses = graph.empty({1}, graph.parameter_type());
    tensor::fill(result.token_losses, unscaled_ + (predictions ? weight * tensor::sum(predictions) : 0.0));
    return std::move(result);
  }

 private:
  double unscaled_ = 0.0;
};

Distillation::Distillation(const Recipe& recipe, const BatchSource& source, std::unique_ptr<Objective> base)
    : recipe_(recipe), base_(std::move(base)), teacher_(std::make_unique<Teacher>(settings_.teacher)) {
  teacher_->require_same_vocabulary(source);
  on_policy_ = {settings_.on_policy, source.tokenizer().vocabulary_size(), source.end_of_text_id(),
                activation_type_of(recipe.precision)};
}

void Distillation::check_models(const models::LanguageModel& student) const {
  if (compares_attention() && shape_.heads != teacher_->shape().heads) {
    throw base::UsageError(
        "distillation.attention_weight compares head with head, but the student has {} and the teacher {} has {}; give "
        "the student as many, or leave the term out",
        shape_.heads, teacher_->path().string(), teacher_->shape().heads);
  }
  if (classifies()) {
    const base::Json& own = student.config().value("id2label", base::Json());
    const base::Json& other = teacher_->config().value("id2label", base::Json());
    if (predicts() && own != other) {
      throw base::UsageError(
          "the student's labels are {} and those of the teacher {} are {}: fine-tune the teacher on this data, or give "
          "data.labels in its order",
          own.dump(), teacher_->path().string(), other.is_null() ? "none" : other.dump());
    }
  } else if (predicts() && student.vocabulary_size() != teacher_->vocabulary_size()) {
    throw base::UsageError("the student has {} rows of logits and the teacher {} has {}; set model.vocab_size = {}",
                           student.vocabulary_size(), teacher_->path().string(), teacher_->vocabulary_size(),
                           teacher_->vocabulary_size());
  }
  if (settings_.top_k > teacher_->vocabulary_size()) {
    throw base::UsageError("distillation.top_k is {}, but the teacher {} has {} tokens", settings_.top_k,
                           teacher_->path().string(), teacher_->vocabulary_size());
  }
  if (!predicts() && !compares_features()) {
    throw base::UsageError(
        "distillation.prediction_weight is 0 and so are the weights of all other terms: there is nothing to learn");
  }
}

void Distillation::add_parameters(models::LanguageModel& model) {
  base_->add_parameters(model);
  shape_ = shape_of(model.config(), "the student");
  check_models(model);
  if (compares_hidden() || compares_attention()) {
    pairs_ = parse_layer_map(settings_.layers, shape_.layers, teacher_->shape().layers);
  }
  const int64_t width = teacher_->shape().width;
  if ((!compares_hidden() && !compares_embeddings()) || shape_.width == width) return;
  projection_ = &model.parameters().add(std::string(kProjection) + ".weight", {width, shape_.width},
                                        {.standard_deviation = 0.02, .decays = true, .auxiliary = true});
  projection_bias_ = &model.parameters().add(std::string(kProjection) + ".bias", {width}, {.auxiliary = true});
}

void Distillation::start(models::LanguageModel& model, const BatchSource& source) {
  base_->start(model, source);
  if (runs_teacher()) teacher_->load();
  if (uses_cache()) open_cache(source);
}

/// Makes the file where it is missing.
void Distillation::open_cache(const BatchSource& source) {
  const std::filesystem::path file = settings_.cache.empty()
                                         ? std::filesystem::path(recipe_.run.out) / "teacher.safetensors"
                                         : std::filesystem::path(settings_.cache);
  const CacheIdentity identity{teacher_hash(teacher_->path()),
                               tokenizer_hash(source.tokenizer()),
                               sha256(source.identity()),
                               recipe_.batch.sequence_length,
                               settings_.top_k,
                               settings_.temperature};
  if (!std::filesystem::exists(file)) make_cache(source, file, identity);
  cache_ = std::make_unique<TeacherCache>(TeacherCache::open(file, identity));
  cache_note_ = fmt::format("the teacher's {} likeliest tokens of {} rows: {:.1f} MB in {}", settings_.top_k,
                            cache_->rows(), static_cast<double>(cache_->bytes()) / 1e6, file.string());
}

/// Goes through the rows of the whole run.
void Distillation::make_cache(const BatchSource& source, const std::filesystem::path& file,
                              const CacheIdentity& identity) {
  const int64_t rows = recipe_.micro_sequences(), sequences = recipe_.batch.sequences;
  const double all_rows = recipe_.epochs * static_cast<double>(source.samples_per_epoch());
  const auto epoch_steps = static_cast<int64_t>(std::ceil(all_rows / static_cast<double>(sequences)));
  const int64_t samples = (recipe_.steps > 0 ? recipe_.steps : epoch_steps) * sequences;
  const int64_t all = source.evaluation_batches(rows), chosen = recipe_.evaluation.batches;
  int64_t evaluations = recipe_.evaluation.every == 0 ? 0 : all;
  if (chosen > 0) evaluations = std::min(evaluations, chosen);
  if (file.has_parent_path()) base::create_folder(file.parent_path());
  TeacherCache::make(file, identity, *teacher_, on_policy_.activation_type, [&](const TeacherCache::Visit& visit) {
    tensor::Arena arena("rows");
    Batch batch;
    for (int64_t first = 0; first < samples; first += rows) {
      source.load(first, std::min(rows, samples - first), arena, batch);
      visit(batch);
    }
    for (int64_t index = 0; index < evaluations; ++index) {
      source.load_evaluation(index, rows, arena, batch);
      visit(batch);
    }
  });
}

std::vector<std::string> Distillation::notes() const {
  std::vector<std::string> notes = base_->notes();
  if (!cache_note_.empty()) notes.push_back(cache_note_);
  return notes;
}

void Distillation::before_step(models::LanguageModel& model, nn::Memory& memory, int64_t step, std::span<Batch> batches,
                               std::span<const int64_t> first_samples) {
  base_->before_step(model, memory, step, batches, first_samples);
  if (on_policy_.share <= 0.0) return;
  write_own_samples(model, memory, on_policy_, batches, first_samples, static_cast<uint64_t>(recipe_.run.seed),
                    static_cast<uint64_t>(step));
}

std::string Distillation::output_of(int64_t block, int64_t blocks, bool causal) {
  // Where a norm stands behind the last block, it belongs to what that block says: Hugging Face's hidden_states[-1].
  return causal && block == blocks - 1 ? kLastHidden : hidden_point(block);
}

Variable Distillation::projected(grad::Graph& graph, const Variable& x) const {
  if (projection_ == nullptr) return x;
  grad::LinearOptions options;
  options.bias = projection_bias_;
  options.wide = true;
  return grad::linear(graph, x, *projection_, grad::WeightLayout::output_input, options);
}

void Distillation::add_prediction(Terms& terms, models::LanguageModel& model, const Variable& hidden,
                                  const models::ForwardOutput& teacher, const Batch& batch) const {
  const models::Head head = model.head();
  const tensor::DistillationSettings how{settings_.alpha, settings_.temperature, settings_.divergence == "reverse"};
  const auto beside = [&](const auto& other) {
    return grad::linear_distillation(terms.graph, hidden, *head.weight, head.layout, head.bias, other,
                                     batch.at("targets").reshape({-1}), how, terms.scale * settings_.prediction_weight);
  };
  tensor::Arena& arena = terms.graph.arena();
  grad::DistillationLoss loss;
  if (uses_cache()) {
    loss = beside(cache_ ? cache_->read(batch, arena) : shape_of_top(batch, settings_.top_k, arena));
  } else {
    grad::TeacherRows rows;
    if (compares_predictions()) {
      const models::Head other = teacher_->model(arena).head();
      rows = {teacher.hidden.value(), other.weight, other.layout, other.bias};
    }
    loss = beside(rows);
  }
  show_prediction(terms, loss);
}

void Distillation::add_features(Terms& terms, bool causal, const FeatureCollector& own, const FeatureCollector& other,
                                const models::ForwardInput& input) const {
  const auto compare_rows = [&](const char* name, double weight, bool cosine, const std::string& of_student,
                                const std::string& of_teacher) {
    const Variable x = projected(terms.graph, own.at(of_student));
    const Tensor target = other.at(of_teacher).value();
    const double rows = static_cast<double>(x.shape().elements() / x.shape()[-1]);
    const double count = cosine ? rows : static_cast<double>(x.shape().elements());
    const double scale = weight * terms.share() / count;
    const grad::FeatureLoss loss = cosine ? grad::cosine_distance(terms.graph, x, target, scale)
                                          : grad::squared_distance(terms.graph, x, target, scale);
    terms.add(name, weight, loss.sum / count, loss.loss);
  };
  const int64_t student_blocks = shape_.layers, teacher_blocks = teacher_->shape().layers;
  if (compares_hidden()) {
    for (const LayerPair& pair : pairs_) {
      compare_rows("hidden", settings_.hidden_weight, settings_.hidden_distance == "cosine",
                   output_of(pair.student, student_blocks, causal), output_of(pair.teacher, teacher_blocks, causal));
    }
  }
  if (compares_embeddings()) {
    compare_rows("embedding", settings_.embedding_weight, false, kEmbeddingPoint, kEmbeddingPoint);
  }
  if (!compares_attention()) return;
  grad::AttentionOptions options;
  options.causal = causal;
  options.document_starts = input.document_starts;
  options.document_ends = input.document_ends;
  tensor::AttentionOptions mask;
  mask.causal = causal;
  mask.document_starts = input.document_starts;
  mask.document_ends = input.document_ends;
  const auto count =
      static_cast<double>(shape_.heads * tensor::visible_pairs(input.ids.dim(0), input.ids.dim(1), mask));
  for (const LayerPair& pair : pairs_) {
    const grad::OtherProjection target{other.at(projection_point(pair.teacher)).value(), teacher_->shape().key_heads};
    const grad::FeatureLoss loss = grad::attention_score_distance(terms.graph, own.at(projection_point(pair.student)),
                                                                  shape_.heads, shape_.key_heads, target, options,
                                                                  settings_.attention_weight * terms.share() / count);
    terms.add("attention", settings_.attention_weight, loss.sum / count, loss.loss);
  }
}

void Distillation::add_labels(Terms& terms, const Variable& logits, const models::ForwardOutput& teacher,
                              const Batch& batch) const {
  const double scale = terms.scale * settings_.prediction_weight;
  const Tensor taught = compares_predictions() ? teacher.named.at("logits").value() : Tensor();
  if (recipe_.objective.task == "regression") {
    // Two numbers have no divergence: the teacher's takes the label's place.
    const double alpha = settings_.alpha;
    const grad::HeadLoss own = grad::squared_error(terms.graph, logits, batch.at("scores"), (1.0 - alpha) * scale);
    terms.result.loss = own.loss;
    const double sum = tensor::sum(own.token_losses);
    terms.show("squared_error", sum);
    double total = (1.0 - alpha) * sum;
    if (taught) {
      const grad::FeatureLoss other =
          grad::squared_distance(terms.graph, logits, taught.reshape(logits.shape()), alpha * scale);
      terms.result.loss = grad::add(terms.graph, own.loss, other.loss);
      terms.show("teacher_squared_error", other.sum);
      total += alpha * other.sum;
    }
    terms.result.token_losses = terms.graph.empty({1}, terms.graph.parameter_type());
    tensor::fill(terms.result.token_losses, total);
    return;
  }
  const tensor::DistillationSettings how{settings_.alpha, settings_.temperature, settings_.divergence == "reverse"};
  show_prediction(terms, grad::label_distillation(terms.graph, logits, taught, batch.at("labels"), how, scale));
}

void Distillation::show_prediction(Terms& terms, const grad::DistillationLoss& loss) {
  terms.result.loss = loss.loss;
  terms.result.token_losses = terms.graph.recording() ? loss.token_losses : loss.cross_entropies;
  terms.show("ce", tensor::sum(loss.cross_entropies));
  if (!loss.divergences) return;
  terms.show("kl", tensor::sum(loss.divergences));
  terms.show("agreement", tensor::sum(loss.agreements));
}

ObjectiveResult Distillation::evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                       double scale) const {
  const bool causal = model.is_causal();
  FeatureCollector own, other;
  const auto want = [&](const std::string& of_student, const std::string& of_teacher) {
    own.want(of_student);
    other.want(of_teacher);
  };
  for (const LayerPair& pair : pairs_) {
    if (compares_hidden()) {
      want(output_of(pair.student, shape_.layers, causal), output_of(pair.teacher, teacher_->shape().layers, causal));
    }
    if (compares_attention()) want(projection_point(pair.student), projection_point(pair.teacher));
  }
  if (compares_embeddings()) want(kEmbeddingPoint, kEmbeddingPoint);

  models::ForwardInput input = forward_input(batch), teacher_input = input;
  input.encode_only = teacher_input.encode_only = !predicts();
  other.attach(teacher_input);
  own.attach(input);
  models::ForwardOutput taught;
  if (runs_teacher()) {
    taught = teacher_->forward(graph, teacher_input);
    other.finish(taught);
  }
  const models::ForwardOutput output = model.forward(graph, input);
  own.finish(output);

  Terms terms(graph, batch, scale);
  if (predicts() && classifies()) add_labels(terms, output.named.at("logits"), taught, batch);
  if (predicts() && !classifies()) add_prediction(terms, model, output.hidden, taught, batch);
  const Tensor predictions = terms.result.token_losses;
  if (compares_features()) add_features(terms, causal, own, other, input);
  if (predicts() && !graph.recording()) {
    terms.result.token_losses = predictions;
    if (recipe_.objective.kind == "next_token" || recipe_.objective.kind == "chat") return std::move(terms.result);
    // What the objective itself reports of an evaluation: accuracies, correlations.
    ObjectiveResult plain = base_->evaluate(graph, model, batch, scale);
    add_sums(plain.sums, terms.result.sums);
    plain.loss = terms.result.loss;
    return plain;
  }
  return terms.finish(predictions, settings_.prediction_weight);
}

}  // namespace fledge::train
