#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "models/language_model.h"
#include "nn/memory.h"
#include "nn/text/encoder_row.h"
#include "nn/text/tokenizer.h"
#include "train/data/augmentation.h"

namespace fledge::train {

/// Finds, for the words of texts, other words that could stand there, by a BERT with a WordPiece vocabulary.
///   A word that is one token is masked, alone in its text, and the model says what is likeliest there.
///   A word of several tokens has the words whose embeddings are nearest, by the cosine, to the mean of its tokens'.
///   TinyBERT takes GloVe's vectors there; the model's own need no second file and are a poorer guide.
/// Where the model has no head for masked tokens, every word has the neighbours of its embedding. Candidates are whole
/// tokens of letters alone, and never the word itself. One thread at a time; model and memory must outlive the object.
class WordCandidates {
 public:
  /// `count`: candidates of a word. Throws Error where the tokenizer is not WordPiece or lacks special tokens.
  WordCandidates(models::LanguageModel& model, nn::Memory& memory, nn::Tokenizer tokenizer,
                 tensor::DType activation_type, int64_t count);

  /// Whether words are masked and predicted, or else all have neighbours.
  bool predicts() const { return predicts_; }

  /// The texts with their words and each word's candidates, likeliest or nearest first.
  std::vector<ReplaceableText> find(std::span<const std::string> texts);

 private:
  struct MaskedWord;
  void read_embeddings();
  const std::vector<std::string>& neighbours(const std::vector<int32_t>& tokens);
  void predict(std::span<const MaskedWord> words, std::vector<ReplaceableText>& results);
  std::vector<std::string> best(std::span<const float> scores, std::span<const int32_t> without) const;

  models::LanguageModel& model_;
  nn::Memory& memory_;
  nn::Tokenizer tokenizer_;
  tensor::DType activation_type_;
  int64_t count_;
  bool predicts_;
  nn::EncoderTokens special_;
  int32_t mask_ = 0;
  std::vector<int32_t> allowed_;   ///< tokens that may be candidates
  std::vector<float> embeddings_;  ///< [V, C], each of length one; of no use before read_embeddings()
  int64_t width_ = 0;
  std::unordered_map<std::string, std::vector<std::string>> known_neighbours_;  ///< by the tokens' bytes
};

}  // namespace fledge::train
