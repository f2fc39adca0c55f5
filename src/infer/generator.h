#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "infer/drafter.h"
#include "infer/sampler.h"
#include "infer/token_constraint.h"
#include "models/language_model.h"

namespace fledge::infer {

struct GenerationOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 256;
  /// Only ids below this are made; 0: the whole vocabulary. A model may have more rows than its tokenizer has tokens.
  int64_t token_count = 0;
  std::vector<int32_t> end_tokens;  ///< any of them ends the text and is not part of it
};

/// Why a generation ended.
enum class FinishReason : uint8_t {
  end_token,
  length,     ///< max_tokens were made
  context,    ///< the model's context is full
  cancelled,  ///< the caller wanted no more
};
std::string_view name_of(FinishReason reason);

/// Continues sequences with a model, token by token, with the keys and values of earlier tokens kept. The model's
/// parameters may be those that are being trained. Not thread-safe.
class Generator {
 public:
  /// `activation_type` is that of the arithmetic: bf16 or f32 (f64 for reference models). `drafter` may be null.
  Generator(models::LanguageModel& model, nn::Memory& memory, tensor::DType activation_type,
            Drafter* drafter = nullptr);

  /// Reads the prompt and calls `on_token` for every token made, until it returns false or the text ends. A prompt must
  /// have at least one token. Throws Error, with the numbers, where it leaves no room in the context. A `constraint`
  /// (may be null) says which tokens may be made; where it allows nothing more, the text ends with `end_token`. Nothing
  /// is guessed then, as it would have to be taken back after a wrong guess.
  FinishReason generate(std::span<const int32_t> prompt, const GenerationOptions& options,
                        const std::function<bool(const SampledToken&)>& on_token,
                        TokenConstraint* constraint = nullptr);

  /// How guesses of all texts went.
  const DraftCounts& drafts() const { return drafts_; }

 private:
  /// Runs tokens through the model and returns the logits [rows, V] after the last ones.
  std::vector<float> advance(std::span<const int32_t> tokens, size_t rows, nn::SequenceState& state);
  std::vector<int32_t> guess(std::span<const int32_t> history, int64_t room);

  models::LanguageModel& model_;
  nn::Memory& memory_;
  tensor::DType activation_type_;
  Drafter* drafter_;
  DraftCounts drafts_;
};

}  // namespace fledge::infer
