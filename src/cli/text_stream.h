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
  infer::DraftCounts drafts;
};

/// What takes part in making tokens beside the model; either may be null.
struct ContinuationHelp {
  infer::TokenConstraint* constraint = nullptr;  ///< says which tokens may be made
  infer::Drafter* drafter = nullptr;             ///< guesses ahead
};

/// The sampler's options from the flags; without --seed, one drawn from the system.
infer::GenerationOptions generation_options(const SamplingOptions& flags, int32_t end_token);

/// The tokens of a prompt; of an empty one, the end-of-text token.
std::vector<int32_t> prompt_tokens(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::string_view prompt);

/// Continues `prompt` and hands out text as it becomes certain: whole characters, nothing of a stop string. Ctrl+C ends
/// it.
Continuation continue_tokens(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::span<const int32_t> prompt,
                             infer::GenerationOptions options, const std::vector<std::string>& stop_strings,
                             const std::function<void(std::string_view)>& show, const ContinuationHelp& help = {});

/// The same for a text, with the options of the flags.
Continuation continue_text(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::string_view prompt,
                           const SamplingOptions& flags, const std::function<void(std::string_view)>& show);

}  // namespace fledge::cli
