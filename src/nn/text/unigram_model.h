#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/byte_fallback.h"
#include "nn/text/byte_trie.h"
#include "nn/text/token_model.h"
#include "nn/text/vocabulary.h"

namespace fledge::nn {

struct UnigramOptions {
  std::optional<int32_t> unknown;  ///< stands for a run of characters that have no token; without it they are an error
  bool byte_fallback = false;      ///< before that: the tokens <0x00> to <0xFF> of the run's bytes
  /// Sums of scores in f32, as SentencePiece has them; Hugging Face's are in f64. Matters where two ways are near.
  bool single_precision = false;
  std::vector<bool> unreachable;   ///< by id: tokens that text never becomes (control, bytes, unused); or empty
  std::vector<bool> user_defined;  ///< by id: tokens that are preferred to all others; or empty
};

/// Unigram (Kudo, "Subword Regularization", 2018): of all ways to cut a piece into tokens the one with the greatest sum
/// of scores (log-probabilities), found with the Viterbi algorithm. A character without a token costs 10 more than the
/// worst token.
class UnigramModel : public TokenModel {
 public:
  /// `scores` has one for each token.
  UnigramModel(std::span<const std::string> tokens, std::vector<double> scores, UnigramOptions options);

  std::unique_ptr<Scratch> new_scratch() const override;
  void encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
              std::vector<int32_t>& ids) const override;
  int32_t size() const override { return vocabulary_.size(); }
  std::string_view token_bytes(int32_t id) const override { return vocabulary_.bytes(id); }
  std::optional<int32_t> token_id(std::string_view bytes) const override { return vocabulary_.find(bytes); }

  const std::vector<double>& scores() const { return scores_; }
  const UnigramOptions& options() const { return options_; }

 private:
  struct UnigramScratch;
  template <typename Score>
  void find_best_path(std::string_view piece, UnigramScratch& scratch) const;
  void encode_piece(std::string_view piece, UnigramScratch& scratch) const;
  void append_unknown(std::string_view run, std::vector<int32_t>& parts) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  UnigramOptions options_;
  ByteFallback fallback_;
  ByteTrie trie_;
  std::vector<double> path_scores_;  // by id: what a token adds to a path
  double unknown_score_ = 0.0;
};

}  // namespace fledge::nn
