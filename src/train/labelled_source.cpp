#include "train/labelled_source.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/terminal.h"
#include "models/model_io.h"
#include "models/store.h"
#include "train/data/encoder_rows.h"
#include "train/data/permutation.h"
#include "train/data/prepare.h"
#include "train/tokenizer_source.h"

namespace fledge::train {
namespace {

constexpr uint64_t kOrderStream = 0x6c6162656c6c6564;  // "labelled"

/// The folder of the tokenizer: the one that the recipe names, or the starting model's own.
std::filesystem::path find_tokenizer(const Recipe& recipe) {
  if (!recipe.data.tokenizer.empty()) return tokenizer_path(recipe.data.tokenizer);
  if (!recipe.model.path.empty()) return models::resolve_model(recipe.model.path);
  throw base::UsageError("objective.kind = \"classify\" with a new model needs data.tokenizer, the folder of one");
}

/// Moves what is held out from `training` to `validation`.
void hold_out(std::vector<Example>& training, double fraction, std::vector<Example>& validation) {
  std::vector<Example> kept;
  for (size_t index = 0; index < training.size(); ++index) {
    const bool held = is_validation_document(static_cast<int64_t>(index), fraction);
    (held ? validation : kept).push_back(std::move(training[index]));
  }
  training = std::move(kept);
}

}  // namespace

std::vector<std::string> labels_of_model(const base::Json& config) {
  const auto names = config.find("id2label");
  const auto architectures = config.find("architectures");
  const bool classifies = architectures != config.end() && architectures->is_array() && !architectures->empty() &&
                          architectures->front().is_string() &&
                          architectures->front().get<std::string>().ends_with("Classification");
  if (!classifies || names == config.end() || !names->is_object()) return {};
  std::vector<std::string> labels;
  bool placeholders = true;
  for (size_t id = 0; id < names->size(); ++id) {
    const auto name = names->find(std::to_string(id));
    if (name == names->end() || !name->is_string()) return {};
    labels.push_back(name->get<std::string>());
    placeholders = placeholders && labels.back() == fmt::format("LABEL_{}", id);
  }
  return placeholders ? std::vector<std::string>{} : labels;
}

LabelledSource::LabelledSource(const Recipe& recipe)
    : task_(label_task_by_name(recipe.objective.task)),
      tokenizer_folder_(find_tokenizer(recipe)),
      tokenizer_(std::make_unique<nn::Tokenizer>(nn::Tokenizer::load(tokenizer_folder_))),
      special_(nn::encoder_tokens(*tokenizer_, tokenizer_folder_.string())),
      longest_(recipe.batch.sequence_length),
      seed_(static_cast<uint64_t>(recipe.run.seed)) {
  if (longest_ < 4) throw base::UsageError("batch.sequence_length = {} leaves no room for a text", longest_);
  const ExampleColumns columns{recipe.data.text_column, recipe.data.text_pair_column, recipe.data.label_column};
  if (task_ == LabelTask::tokens && !columns.pair.empty())
    throw base::UsageError("data.text_pair_column has no meaning with objective.task = \"tokens\"");
  std::vector<Example> training = read_examples(recipe.data.path, columns, task_), validation;
  if (!recipe.data.val_path.empty()) {
    validation = read_examples(recipe.data.val_path, columns, task_);
  } else if (recipe.data.val_fraction > 0.0) {
    hold_out(training, recipe.data.val_fraction, validation);
  }
  if (training.empty()) throw base::Error("{}: no example is left to train on", recipe.data.path);
  if (task_ != LabelTask::regression) choose_labels(recipe, training);
  int64_t cut = 0;
  training_ = encode_examples(training, task_, labels_, *tokenizer_, special_, longest_, cut);
  validation_ = encode_examples(validation, task_, labels_, *tokenizer_, special_, longest_, cut);
  if (task_ != LabelTask::regression) check_classes(recipe, training);
  if (cut > 0)
    notes_.push_back(fmt::format("{} of {} texts are longer than batch.sequence_length = {} tokens and were cut", cut,
                                 training_.size() + validation_.size(), longest_));
}

void LabelledSource::choose_labels(const Recipe& recipe, const std::vector<Example>& training) {
  labels_ = recipe.data.labels;
  if (labels_.empty() && !recipe.model.path.empty())
    labels_ = labels_of_model(models::read_config(models::resolve_model(recipe.model.path)));
  if (labels_.empty()) labels_ = labels_of(training);
  if (std::set<std::string>(labels_.begin(), labels_.end()).size() != labels_.size())
    throw base::UsageError("data.labels names a label twice");
  if (labels_.size() < 2)
    throw base::Error("{}: all examples have the same label, \"{}\", so there is nothing to learn", recipe.data.path,
                      base::printable(labels_.front()));
}

/// Labels that no training example has: an error where the recipe names them.
void LabelledSource::check_classes(const Recipe& recipe, const std::vector<Example>& training) {
  const std::vector<std::string> present = labels_of(training);
  for (const std::string& label : labels_) {
    if (std::ranges::find(present, label) != present.end()) continue;
    if (!recipe.data.labels.empty())
      throw base::UsageError("data.labels names \"{}\", but no training example in {} has this label",
                             base::printable(label), recipe.data.path);
    notes_.push_back(fmt::format("no training example has the model's label \"{}\"", base::printable(label)));
  }
}

std::string LabelledSource::identity() const {
  uint64_t hash = base::stable_hash(fmt::format("{}", fmt::join(labels_, "\n")));
  const auto add = [&](const std::vector<int32_t>& values) {
    hash = base::stable_hash({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int32_t)}, hash);
  };
  for (const EncodedExample& example : training_) {
    add(example.ids);
    add(example.segments);
    add(example.labels);
    hash = base::stable_hash(fmt::format("{}", example.number), hash);
  }
  return fmt::format("{} examples {:016x}", training_.size(), hash);
}

int64_t LabelledSource::training_tokens() const {
  int64_t tokens = 0;
  for (const EncodedExample& example : training_) tokens += static_cast<int64_t>(example.ids.size());
  return tokens;
}

void LabelledSource::fill(std::span<const EncodedExample* const> examples, tensor::Arena& arena, Batch& batch) const {
  nn::EncoderRow row(special_);
  std::vector<int32_t> labels;
  std::vector<float> scores;
  for (const EncodedExample* example : examples) {
    row.add_whole(example->ids, example->segments);
    labels.insert(labels.end(), example->labels.begin(), example->labels.end());
    scores.push_back(static_cast<float>(example->number));
  }
  set_encoder_rows({&row, 1}, true, arena, batch);
  batch.target_tokens = static_cast<int64_t>(examples.size());
  if (task_ == LabelTask::regression) {
    const tensor::Shape shape{static_cast<int64_t>(scores.size())};
    std::ranges::copy(scores, batch.prepare("scores", shape, tensor::DType::f32, arena).data<float>());
    return;
  }
  set_integers("labels", labels, arena, batch);
  if (task_ == LabelTask::tokens)
    batch.target_tokens = std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
}

void LabelledSource::load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  std::vector<const EncodedExample*> examples;
  const auto count = static_cast<int64_t>(training_.size());
  for (int64_t sample = first_sample; sample < first_sample + rows; ++sample) {
    const Permutation order(static_cast<uint64_t>(count), seed_, kOrderStream, static_cast<uint64_t>(sample / count));
    examples.push_back(&training_[order(static_cast<uint64_t>(sample % count))]);
  }
  fill(examples, arena, batch);
}

int64_t LabelledSource::evaluation_batches(int64_t rows) const {
  return (validation_examples() + rows - 1) / rows;
}

void LabelledSource::load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  std::vector<const EncodedExample*> examples;
  std::vector<int32_t> numbers;
  for (int64_t number = index * rows; number < std::min((index + 1) * rows, validation_examples()); ++number) {
    examples.push_back(&validation_[static_cast<size_t>(number)]);
    numbers.push_back(static_cast<int32_t>(number));
  }
  fill(examples, arena, batch);
  set_integers("examples", numbers, arena, batch);
}

void LabelledSource::shape(int64_t rows, tensor::Arena& arena, Batch& batch) const {
  // Any examples may meet in a batch; at most the longest ones.
  std::vector<int64_t> lengths;
  for (const EncodedExample& example : training_) lengths.push_back(static_cast<int64_t>(example.ids.size()));
  const auto most = static_cast<size_t>(std::min<int64_t>(rows, samples_per_epoch()));
  std::ranges::partial_sort(lengths, lengths.begin() + static_cast<std::ptrdiff_t>(most), std::greater<>());
  int64_t tokens = 0;
  for (int64_t row = 0; row < rows; ++row) tokens += lengths[static_cast<size_t>(row) % most];
  for (const char* name : {"ids", "token_types", "positions", "document_starts", "document_ends"}) {
    batch.prepare(name, {1, tokens}, tensor::DType::i32, arena);
  }
  // On the shape-only device a row counts as one text.
  if (task_ == LabelTask::regression) {
    batch.prepare("scores", {1}, tensor::DType::f32, arena);
  } else {
    batch.prepare("labels", {task_ == LabelTask::tokens ? tokens : 1}, tensor::DType::i32, arena);
  }
  batch.target_tokens = rows;
}

}  // namespace fledge::train
