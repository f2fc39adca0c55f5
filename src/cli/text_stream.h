#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "cli/loaded_model.h"
#include "cli/sampling_options.h"
#include "infer/generator.h"

namespace fledge::cli {

/// What a continuation was.
struct Continuation {
  std::string text;
  std::vector<infer::SampledToken> tokens;
  std::string finish_reason;  ///< "end_token", "stop", "length", "context", "cancelled"
};

/// The sampler's options from the flags; without --seed, one drawn from the system.
infer::GenerationOptions generation_options(const SamplingOptions& flags, int32_t end_token);

/// Continues `prompt` (a beginning of nothing becomes the end-of-text token) and hands out text as it becomes certain:
/// whole characters, nothing of a stop string. Ctrl+C ends it.
Continuation continue_text(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::string_view prompt,
                           const SamplingOptions& flags, const std::function<void(std::string_view)>& show);

}  // namespace fledge::cli
