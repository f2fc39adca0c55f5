#include "cli/text_stream.h"

#include <random>

#include "base/signals.h"
#include "infer/stop.h"

namespace fledge::cli {

infer::GenerationOptions generation_options(const SamplingOptions& flags, int32_t end_token) {
  infer::GenerationOptions options;
  options.max_tokens = flags.max_tokens;
  options.sampling.temperature = flags.temperature;
  options.sampling.top_k = flags.top_k;
  options.sampling.top_p = flags.top_p;
  options.sampling.min_p = flags.min_p;
  options.sampling.seed = flags.seed ? *flags.seed : std::random_device{}();
  if (end_token >= 0) options.end_tokens = {end_token};
  return options;
}

std::vector<int32_t> prompt_tokens(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::string_view prompt) {
  std::vector<int32_t> ids = tokenizer.encode(prompt, {.add_special = true});
  const int32_t end_token = end_token_of(opened, tokenizer);
  if (ids.empty() && end_token >= 0) ids.push_back(end_token);
  return ids;
}

Continuation continue_tokens(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::span<const int32_t> prompt,
                             infer::GenerationOptions options, const std::vector<std::string>& stop_strings,
                             const std::function<void(std::string_view)>& show, const ContinuationHelp& help) {
  Continuation result;
  infer::StopFilter filter(stop_strings);
  nn::StreamDecoder decoder(tokenizer);
  const auto emit = [&](const std::string& text) {
    result.text += text;
    if (!text.empty()) show(text);
  };
  options.token_count = tokenizer.vocabulary_size();
  infer::Generator generator(opened.model(), opened.memory(), opened.activation_type, help.drafter);
  const infer::FinishReason reason = generator.generate(
      prompt, options,
      [&](const infer::SampledToken& token) {
        result.tokens.push_back(token);
        emit(filter.push(decoder.push(token.token)));
        return !filter.found() && !base::interrupted();
      },
      help.constraint);
  if (!filter.found()) emit(filter.push(decoder.finish()));
  emit(filter.finish());
  result.drafts = generator.drafts();
  result.finish_reason = filter.found() ? "stop" : std::string(infer::name_of(reason));
  return result;
}

Continuation continue_text(OpenedModel& opened, const nn::Tokenizer& tokenizer, std::string_view prompt,
                           const SamplingOptions& flags, const std::function<void(std::string_view)>& show) {
  const infer::GenerationOptions options = generation_options(flags, end_token_of(opened, tokenizer));
  return continue_tokens(opened, tokenizer, prompt_tokens(opened, tokenizer, prompt), options, flags.stop, show);
}

}  // namespace fledge::cli
