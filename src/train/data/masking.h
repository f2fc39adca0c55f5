#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "nn/text/encoder_row.h"
#include "nn/text/tokenizer.h"

namespace fledge::train {

struct MaskingOptions {
  double probability = 0.15;  ///< share of the ordinary tokens that are to be predicted
  bool whole_words = false;   ///< all tokens of a word, or none
  uint64_t seed = 0;
};

/// Chooses the tokens that a model has to predict (Devlin et al., "BERT", 2019, appendix A.1): a fixed share of each
/// row's ordinary tokens, of which 80 % become [MASK], 10 % a token drawn at random and 10 % stay. What is drawn is a
/// function of (seed, stream, sample, place) and nothing else: another epoch's sample has another number and another
/// mask, a resumed run the same.
class Masking {
 public:
  /// Training and evaluation draw from streams of their own.
  enum class Stream : uint64_t { kTraining = 0x6d61736b00, kEvaluation = 0x6d61736b01 };

  /// Throws Error where the tokenizer has no mask_token, or no ordinary token.
  Masking(const nn::Tokenizer& tokenizer, const MaskingOptions& options);

  /// Changes the row's ids and appends the places of chosen tokens, in rising order and counted from `first_place`, and
  /// the ids that stood there.
  void apply(nn::EncoderRow& row, Stream stream, uint64_t sample, int64_t first_place, std::vector<int32_t>& places,
             std::vector<int32_t>& targets) const;

  /// The most that apply() chooses of a row with that many tokens.
  int64_t most_chosen(int64_t tokens) const;

 private:
  struct Candidate {
    uint64_t key;  ///< drawn; candidates are taken by rising key
    int32_t begin, end;
  };
  std::vector<Candidate> candidates(const nn::EncoderRow& row, const base::Random& random, uint64_t sample) const;

  MaskingOptions options_;
  int32_t mask_;
  std::vector<int32_t> drawable_;     // ordinary tokens
  std::vector<bool> continues_word_;  // by id
};

/// By id: tokens that continue the word of the token before them ("##ing" of WordPiece; of SentencePiece's kinds those
/// without the mark of a word's beginning; of byte-level BPE those that begin with a letter, a digit or a byte of a
/// longer character).
std::vector<bool> continuing_tokens(const nn::Tokenizer& tokenizer);

}  // namespace fledge::train
