#include "cli/evaluate.h"

#include <memory>

#include "cli/adapter_options.h"
#include "cli/common.h"
#include "cli/sampling_options.h"

namespace fledge::cli {

void add_eval_command(Verb app, Context& context) {
  auto options = std::make_shared<EvaluateOptions>();
  Verb verb = add_verb(app, context, "eval", "Measures how well a model predicts a text and solves tasks.",
                       "fledge eval runs/austen/model --perplexity emma.txt\nfledge eval smollm2 --tasks "
                       "arc.jsonl,facts.jsonl --shots 5\nfledge eval smollm2 --tasks facts.jsonl --chat --json");
  verb.group("Measure");
  verb.add_option("MODEL", options->model, "The model: a folder, a run, a name or a GGUF file").required();
  verb.add_option("--perplexity", options->perplexity, "Text file: prints loss per token, perplexity, bits per byte")
      .type_name("FILE")
      .group("Measure");
  verb.add_option("--tasks", options->tasks,
                  "Files of JSON lines with choices, continuations, answers or texts, by the conventions of "
                  "lm-evaluation-harness; see docs/evaluation.md")
      .type_name("FILE,...")
      .delimiter(',')
      .group("Measure");
  verb.add_option("--limit", options->limit, "Ask only the first N examples of each task")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1} << 31)
      .group("Measure");
  verb.add_option("--shots", options->shots, "Show N solved examples of the task before each question")
      .type_name("N")
      .in_range(int64_t{0}, int64_t{1000})
      .group("Measure");
  verb.add_flag("--chat", options->chat, "Put questions as a user's messages, in the model's chat template")
      .group("Measure");
  verb.add_option("--answers", options->answers, "Write what the model said to each example, as JSON lines")
      .type_name("FILE")
      .group("Measure");
  verb.add_option("--stride", options->stride,
                  "Tokens between windows; smaller ones give each token more context and take longer (default: the "
                  "whole context)")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1} << 31)
      .group("Measure");
  verb.add_option("--chunk", options->chunk,
                  "Cut the text into chunks of N tokens and score the second half of each, as llama.cpp does")
      .type_name("N")
      .in_range(int64_t{4}, int64_t{1} << 31)
      .excludes("--stride")
      .group("Measure");
  add_adapter_option(verb, options->adapters);
  add_precision_option(verb, options->precision, "auto");
  add_json_option(verb, options->json, "The numbers as one JSON object");
  verb.callback([options, &context] { context.run = [options, &context] { run_eval(*options, context.common); }; });
}

}  // namespace fledge::cli
