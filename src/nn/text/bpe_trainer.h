#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/text/pre_tokenizer.h"
#include "nn/text/tokenizer_trainer.h"

namespace fledge::nn {

struct BpeTrainingOptions {
  /// With the special tokens and the 256 bytes. Fewer come out where the text has no more pairs.
  int32_t vocabulary_size = 32000;
  SplitPattern pattern = SplitPattern::kGpt2;
  bool normalize_to_nfc = false;
  /// A pair that is seen fewer times is not merged.
  int64_t min_frequency = 2;
  /// They get the first ids, in this order.
  std::vector<std::string> special_tokens = {"<|endoftext|>"};
  /// Called on the caller's thread now and then; may throw to stop.
  std::function<void(const TokenizerTrainingProgress&)> progress;
};

/// Trains byte-level BPE: counts the pieces of texts, then merges the most frequent pair of neighbours until the
/// vocabulary is full (Sennrich et al., 2016, algorithm 1). The merges and ids are those of Hugging Face's BpeTrainer
/// with the same options, a ByteLevel alphabet and the same texts; of pairs that are equally frequent, the one of lower
/// ids comes first. One difference: the text of a special token is cut out, where theirs would be learned from.
class BpeTrainer : public TokenizerTrainer {
 public:
  /// Throws base::UsageError where the vocabulary has no room for the bytes and the special tokens.
  explicit BpeTrainer(BpeTrainingOptions options);

  Tokenizer train() override;

 private:
  BpeTrainingOptions options_;
};

}  // namespace fledge::nn
