#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/language_model.h"

namespace fledge::train {

/// Tokens whose likelihood behind a context is asked for.
struct Continuation {
  std::vector<int32_t> context;  ///< at least one token
  std::vector<int32_t> tokens;   ///< at least one token
};

/// How likely a model finds a continuation.
struct ContinuationScore {
  double log_likelihood = 0.0;  ///< of all its tokens, nats
  bool greedy = true;           ///< whether each of them is the likeliest one at its place
};

/// Called with the number of continuations done; may throw to stop.
using ScoringProgress = std::function<void(int64_t done, int64_t total)>;

/// Scores of many continuations. Several go through the model in one row, with attention and positions separated, so
/// that no arithmetic is spent on padding; logits are computed at the continuations' own places alone. Throws Error,
/// with the numbers, where one is longer than the model's context, and naming the place where it has no tokens.
std::vector<ContinuationScore> score_continuations(models::LanguageModel& model, nn::Memory& memory,
                                                   std::span<const Continuation> continuations,
                                                   tensor::DType activation_type,
                                                   const ScoringProgress& on_progress = {});

}  // namespace fledge::train
