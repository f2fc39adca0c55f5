#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "nn/memory.h"
#include "nn/text/encoder_row.h"
#include "nn/text/tokenizer.h"

namespace fledge::infer {

/// Labels of texts by an encoder with such a head (BertForSequenceClassification, BertForTokenClassification), whose
/// weights are loaded once. Texts of any lengths go through it side by side in one row, without padding; what is said
/// of a text depends on it alone. One thread at a time; the model and its memory must outlive the classifier.
class Classifier {
 public:
  /// Throws Error where the model has no labels, or the tokenizer no [CLS] and [SEP].
  Classifier(models::LanguageModel& model, nn::Memory& memory, nn::Tokenizer tokenizer, tensor::DType activation_type);

  /// The names of the labels in the order of their scores.
  const std::vector<std::string>& labels() const { return labels_; }
  /// One number for each text instead of labels.
  bool is_regression() const { return labels_.size() == 1; }
  /// Each word has labels of its own.
  bool labels_words() const { return labels_words_; }

  /// A text, a pair (`second` not null) or words as the model reads them.
  nn::EncoderText encode(std::string_view first, const std::string* second) const;
  nn::EncoderText encode(std::span<const std::string> words) const;

  /// For each text one row of scores, for a model that labels words one row for each of them (empty for a word that was
  /// cut): probabilities of the labels, or the number of a regression.
  std::vector<std::vector<std::vector<float>>> classify(std::span<const nn::EncoderText> texts);

 private:
  void run(std::span<const nn::EncoderText> texts, std::span<const size_t> order,
           std::vector<std::vector<std::vector<float>>>& results);

  models::LanguageModel& model_;
  nn::Memory& memory_;
  nn::Tokenizer tokenizer_;
  tensor::DType activation_type_;
  nn::EncoderTokens special_;
  std::vector<std::string> labels_;
  bool labels_words_ = false;
};

}  // namespace fledge::infer
