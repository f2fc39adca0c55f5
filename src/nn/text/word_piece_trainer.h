#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/text/tokenizer_trainer.h"

namespace fledge::nn {

struct WordPieceTrainingOptions {
  /// With the special tokens and the letters. Fewer come out where the text has no more pairs.
  int32_t vocabulary_size = 30522;
  /// Lower case without accents, as BERT's uncased models; without it text keeps its case and accents.
  bool lowercase = true;
  /// A pair that is seen fewer times is not merged.
  int64_t min_frequency = 2;
  /// The most frequent characters are letters of the vocabulary; others become [UNK], with the word they stand in.
  int64_t alphabet_limit = 1000;
  /// They get the first ids, in this order; [UNK] must be one of them. [CLS] and [SEP], where both are there, go around
  /// a text.
  std::vector<std::string> special_tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  /// Called on the caller's thread now and then; may throw to stop.
  std::function<void(const TokenizerTrainingProgress&)> progress;
};

/// Trains BERT's WordPiece: words as BERT's normalizer and pre-tokenizer make them, whose letters, those behind the
/// first one marked by ##, are merged pair by pair, the most frequent pair first. That is what Hugging Face's
/// WordPieceTrainer does; of pairs that are equally frequent, the one of lower ids comes first, and where theirs gives
/// the marked letters ids in an order that changes from run to run, ours have the order of their code points.
class WordPieceTrainer : public TokenizerTrainer {
 public:
  /// Throws base::UsageError where [UNK] is missing.
  explicit WordPieceTrainer(WordPieceTrainingOptions options);

  /// Throws base::UsageError where the vocabulary has no room for the letters.
  Tokenizer train() override;

 private:
  WordPieceTrainingOptions options_;
};

}  // namespace fledge::nn
