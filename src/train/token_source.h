#pragma once

#include <memory>
#include <string>

#include "train/data/batch_source.h"
#include "train/data/loader.h"
#include "train/recipe.h"

namespace fledge::train {

/// Windows of prepared text, for the prediction of the next token: ids, targets, positions, document_starts
/// (see Batch).
class TokenSource : public BatchSource {
 public:
  /// Opens data.path, prepared with the tokenizer that it holds or that data.tokenizer names. Throws Error where the
  /// two do not fit or where there is too little text.
  TokenSource(const Recipe& recipe, const std::filesystem::path& data_folder);

  const nn::Tokenizer& tokenizer() const override { return *tokenizer_; }
  const std::filesystem::path& tokenizer_folder() const override { return tokenizer_folder_; }
  int32_t end_of_text_id() const override;
  std::string identity() const override;
  int64_t training_tokens() const override;
  int64_t samples_per_epoch() const override { return loader_->windows_per_epoch(); }
  void load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  int64_t evaluation_batches(int64_t rows) const override;
  void load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  void shape(int64_t rows, tensor::Arena& arena, Batch& batch) const override;

 private:
  std::shared_ptr<const TokenData> data_;
  std::filesystem::path tokenizer_folder_;
  std::unique_ptr<nn::Tokenizer> tokenizer_;
  LoaderOptions options_;
  std::unique_ptr<TrainingLoader> loader_;
};

}  // namespace fledge::train
