#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/text/encoder_row.h"
#include "train/data/batch_source.h"
#include "train/data/loader.h"
#include "train/data/masking.h"
#include "train/recipe.h"

namespace fledge::train {

/// Windows of prepared text for the prediction of masked tokens: ids, positions, document_starts and document_ends
/// [B, T]; masked_rows and targets [N], the places (among B T) that are to be predicted and the tokens there; with
/// objective.next_sentence also token_types, and next_sentence [D], one label for each text of the batch (0: the second
/// segment follows the first one, 1: it was drawn from elsewhere, kIgnoredTarget: padding).
///
/// A row of T tokens holds the texts of its window one behind the other, each set in [CLS] and [SEP], and is filled to
/// the last place but for a few of padding where nothing fits any more.
class MaskedSource : public BatchSource {
 public:
  /// Opens `data_folder`. Throws Error where the tokenizer lacks [CLS], [SEP] or [MASK], or does not fit the data.
  MaskedSource(const Recipe& recipe, const std::filesystem::path& data_folder);

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
  struct Filling;
  void add_row(const TokenSplit& split, int64_t first_token, Masking::Stream stream, uint64_t sample,
               Filling& filling) const;
  void add_pair(const TokenSplit& split, std::span<const int32_t> text, const base::Random& random, uint64_t sample,
                uint64_t number, nn::EncoderRow& row, std::vector<int32_t>& labels) const;
  std::vector<int32_t> text_from_elsewhere(const TokenSplit& split, int64_t length, uint64_t draw) const;
  void store(Filling& filling, tensor::Arena& arena, Batch& batch) const;

  std::shared_ptr<const TokenData> data_;
  std::filesystem::path tokenizer_folder_;
  std::unique_ptr<nn::Tokenizer> tokenizer_;
  nn::EncoderTokens special_;
  int64_t length_;         // T
  int64_t window_tokens_;  // of the prepared text that a row begins with
  bool next_sentence_;
  uint64_t seed_;
  std::unique_ptr<Masking> masking_;
  std::unique_ptr<TrainingLoader> loader_;  // the order of windows
};

}  // namespace fledge::train
