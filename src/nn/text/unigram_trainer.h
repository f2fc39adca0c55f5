#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/text/tokenizer_trainer.h"

namespace fledge::nn {

struct UnigramTrainingOptions {
  /// With the special tokens and the characters. Fewer come out where the text has no more strings.
  int32_t vocabulary_size = 32000;
  bool lowercase = false;
  /// The most frequent characters get tokens; others are <unk>.
  int64_t alphabet_limit = 1000;
  int64_t longest_piece = 16;      ///< in characters; at most 60
  int64_t seed_size = 1000000;     ///< candidates at the beginning
  double shrinking_factor = 0.75;  ///< the share of candidates that a round of pruning keeps
  int32_t improvements = 2;        ///< steps of expectation and maximization between two rounds
  /// <unk> is always there, with the id 0; these get the last ids, in this order. <s> and </s> go around a text.
  std::vector<std::string> special_tokens = {"<s>", "</s>", "<pad>", "<mask>"};
  /// Called on the caller's thread now and then; may throw to stop.
  std::function<void(const TokenizerTrainingProgress&)> progress;
};

/// Trains a Unigram tokenizer (Kudo, "Subword Regularization", 2018) on words as SentencePiece makes them: NFKC, white
/// space as single spaces, which become the mark U+2581 in front of each word. Candidates are the frequent strings
/// inside words; see UnigramLearner for what is kept of them. Other than in SentencePiece, the last candidates go by
/// the likelihood that they are worth too, not by their frequency.
class UnigramTrainer : public TokenizerTrainer {
 public:
  /// Throws base::UsageError for options out of range.
  explicit UnigramTrainer(UnigramTrainingOptions options);

  /// Throws base::UsageError where the vocabulary has no room for the characters.
  Tokenizer train() override;

 private:
  UnigramTrainingOptions options_;
};

}  // namespace fledge::nn
