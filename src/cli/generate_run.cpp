#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/json.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/generate.h"
#include "cli/text_stream.h"

namespace fledge::cli {
namespace {

std::string read_standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

base::OrderedJson to_json(const std::string& prompt, const Continuation& continuation, double seconds) {
  base::OrderedJson tokens = base::OrderedJson::array();
  for (const infer::SampledToken& token : continuation.tokens) {
    tokens.push_back({{"id", token.token}, {"log_probability", token.log_probability}});
  }
  return {{"prompt", prompt},
          {"text", continuation.text},
          {"finish_reason", continuation.finish_reason},
          {"tokens", tokens},
          {"seconds", seconds}};
}

}  // namespace

void run_generate(const GenerateOptions& options, const CommonOptions& common) {
  const base::InterruptGuard guard;
  const auto start = std::chrono::steady_clock::now();
  OpenedModel opened = open_model(options.model, options.sampling.precision, false);
  const nn::Tokenizer tokenizer = open_tokenizer(opened);
  const std::string prompt = options.prompt ? *options.prompt : read_standard_input();
  const auto show = [&](std::string_view text) {
    if (options.json) return;
    print(text);
    flush_standard_output();
  };
  show(prompt);
  const Continuation continuation = continue_text(opened, tokenizer, prompt, options.sampling, show);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.json) {
    const auto text = to_json(prompt, continuation, seconds).dump(-1, ' ', false, base::Json::error_handler_t::replace);
    print(text + "\n");
    return;
  }
  print("\n");
  if (!common.quiet && base::describe_terminal(2).interactive) {
    fmt::print(stderr, "({} tokens, {:.1f} s with loading, ended by {})\n", continuation.tokens.size(), seconds,
               continuation.finish_reason);
  }
}

}  // namespace fledge::cli
