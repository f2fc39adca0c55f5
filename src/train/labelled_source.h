#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/data/batch_source.h"
#include "train/data/labelled.h"
#include "train/recipe.h"

namespace fledge::train {

/// Labelled examples of a CSV, TSV or JSONL file for an encoder. A sample is an example; a batch holds its examples one
/// behind the other in a single row, without padding: ids, token_types, positions, document_starts and document_ends
/// [1, T], and labels i32 [D] (of tokens: [T]) or scores f32 [D] for D examples. Batches of the validation also have
/// examples i32 [D], the numbers of theirs among all. Each epoch goes through all examples in an order of its own.
class LabelledSource : public BatchSource {
 public:
  /// Reads data.path and, where it is given, data.val_path; otherwise data.val_fraction of the examples is held out.
  /// Throws Error or UsageError where labels and set do not fit.
  explicit LabelledSource(const Recipe& recipe);

  LabelTask task() const { return task_; }
  /// The names of the labels, in the order of their ids; empty for a regression.
  const std::vector<std::string>& labels() const { return labels_; }
  int64_t validation_examples() const { return static_cast<int64_t>(validation_.size()); }

  const nn::Tokenizer& tokenizer() const override { return *tokenizer_; }
  const std::filesystem::path& tokenizer_folder() const override { return tokenizer_folder_; }
  int32_t end_of_text_id() const override { return special_.separator; }
  std::string identity() const override;
  int64_t training_tokens() const override;
  int64_t samples_per_epoch() const override { return static_cast<int64_t>(training_.size()); }
  void load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  int64_t evaluation_batches(int64_t rows) const override;
  void load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  void shape(int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  std::vector<std::string> notes() const override { return notes_; }

 private:
  void choose_labels(const Recipe& recipe, const std::vector<Example>& training);
  void check_classes(const Recipe& recipe, const std::vector<Example>& training);
  void fill(std::span<const EncodedExample* const> examples, tensor::Arena& arena, Batch& batch) const;

  LabelTask task_;
  std::vector<std::string> labels_, notes_;
  std::filesystem::path tokenizer_folder_;
  std::unique_ptr<nn::Tokenizer> tokenizer_;
  nn::EncoderTokens special_;
  std::vector<EncodedExample> training_, validation_;
  int64_t longest_;
  uint64_t seed_;
};

/// The names in id2label of a model's config.json where it classifies, unless they are the placeholders LABEL_0 and so
/// on; else none.
std::vector<std::string> labels_of_model(const base::Json& config);

}  // namespace fledge::train
