#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "models/language_model.h"

namespace fledge::train {

/// How well a model predicts a text.
struct Perplexity {
  double nats = 0.0;   ///< sum of the losses of all scored tokens
  int64_t tokens = 0;  ///< scored: all but the first one
  int64_t bytes = 0;   ///< of the text

  double loss() const { return tokens > 0 ? nats / static_cast<double>(tokens) : 0.0; }
  double perplexity() const;
  /// Comparable between models with different tokenizers.
  double bits_per_byte() const;
};

struct PerplexityOptions {
  int64_t stride = 0;  ///< tokens between the beginnings of windows; 0: the context length (no overlap)
  /// Not 0: cuts the text into chunks of so many tokens and scores the second half of each alone, as llama.cpp's
  /// perplexity tool does; tokens behind the last whole chunk are left out. Excludes `stride`.
  int64_t chunk = 0;
  int64_t rows = 8;  ///< windows computed at once
};

/// Scores every token of `ids` but the first exactly once, in windows of the model's context length that begin every
/// `stride` tokens: a token is scored in the first window that holds it, so with a stride below the context it sees at
/// least context - stride earlier tokens (as in Hugging Face's guide to perplexity). `bytes` is the length of the text.
/// Throws UsageError for a stride or a chunk that does not fit the context length, Error for a text that is too short.
Perplexity measure_perplexity(models::LanguageModel& model, nn::Memory& memory, std::span<const int32_t> ids,
                              int64_t bytes, const PerplexityOptions& options, tensor::DType activation_type,
                              const std::function<void(int64_t done, int64_t total)>& on_progress = {});

}  // namespace fledge::train
