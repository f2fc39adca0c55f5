#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/drafting.h"
#include "cli/generate.h"
#include "cli/ids.h"
#include "cli/text_stream.h"
#include "infer/constraint/constraint.h"

namespace fledge::cli {
namespace {

std::string read_standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

base::OrderedJson to_json(const std::string& prompt, const Continuation& continuation, double seconds) {
  base::OrderedJson tokens = base::OrderedJson::array();
  for (const infer::SampledToken& token : continuation.tokens) {
    base::OrderedJson entry = {{"id", token.token}, {"log_probability", token.log_probability}};
    for (const infer::TokenProbability& other : token.alternatives) {
      entry["alternatives"].push_back({{"id", other.token}, {"log_probability", other.log_probability}});
    }
    tokens.push_back(std::move(entry));
  }
  return {{"prompt", prompt},
          {"text", continuation.text},
          {"finish_reason", continuation.finish_reason},
          {"tokens", tokens},
          {"seconds", seconds}};
}

/// What --json-schema or --regex ask for; null without them.
std::shared_ptr<infer::TokenConstraint> constraint_of(const GenerateOptions& options, const nn::Tokenizer& tokenizer) {
  const auto vocabulary = [&] {
    return std::make_shared<const infer::VocabularyTrie>(infer::VocabularyTrie::from(tokenizer));
  };
  if (!options.regex.empty()) return infer::make_regex_constraint(options.regex, vocabulary());
  if (options.json_schema.empty()) return nullptr;
  const bool is_text = options.json_schema.find_first_of("{[") != std::string::npos &&
                       options.json_schema.find_first_not_of(" \t\r\n") == options.json_schema.find_first_of("{[");
  const std::string text = is_text ? options.json_schema : base::read_file(options.json_schema);
  const std::string origin = is_text ? "--json-schema" : options.json_schema;
  return infer::make_json_schema_constraint(base::parse_ordered_json(text, origin), vocabulary());
}

}  // namespace

void run_generate(const GenerateOptions& options, const CommonOptions& common) {
  const base::InterruptGuard guard;
  const auto start = std::chrono::steady_clock::now();
  const std::string precision = precision_for_text(options.sampling.precision);
  OpenedModel opened = open_model(options.model, precision, false, options.adapters);
  const nn::Tokenizer tokenizer = open_tokenizer(opened);
  const Drafting drafting = open_drafting(options.draft, opened, tokenizer, precision, 0);
  std::string prompt;
  std::vector<int32_t> ids;
  if (options.prompt_ids.empty()) {
    prompt = options.prompt ? *options.prompt : read_standard_input();
    ids = prompt_tokens(opened, tokenizer, prompt);
  } else {
    ids = parse_ids(options.prompt_ids, "--prompt-ids");
    prompt = tokenizer.decode(ids);
  }
  infer::GenerationOptions generation = generation_options(options.sampling, end_token_of(opened, tokenizer));
  generation.sampling.alternatives = options.alternatives;
  if (options.ignore_end) generation.end_tokens.clear();
  const auto constraint = constraint_of(options, tokenizer);
  const auto show = [&](std::string_view text) {
    if (options.json) return;
    print(text);
    flush_standard_output();
  };
  show(prompt);
  const Continuation continuation = continue_tokens(opened, tokenizer, ids, generation, options.sampling.stop, show,
                                                    {constraint.get(), drafting.drafter.get()});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.json) {
    base::OrderedJson report = to_json(prompt, continuation, seconds);
    if (drafting.drafter) {
      report["drafts"] = {{"guessed", continuation.drafts.guessed}, {"right", continuation.drafts.right}};
    }
    const auto text = report.dump(-1, ' ', false, base::Json::error_handler_t::replace);
    print(text + "\n");
    return;
  }
  print("\n");
  if (!common.quiet && base::describe_terminal(2).interactive) {
    const std::string guesses = drafting.drafter ? ", " + describe(continuation.drafts) : "";
    fmt::print(stderr, "({} tokens, {:.1f} s with loading, ended by {}{})\n", continuation.tokens.size(), seconds,
               continuation.finish_reason, guesses);
  }
}

}  // namespace fledge::cli
