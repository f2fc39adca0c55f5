#include "cli/evaluate.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/common.h"
#include "cli/sampling_options.h"

namespace fledge::cli {

void add_eval_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* verb = add_verb(app, context, "eval", "Measures how well a model predicts a text.",
                            "fledge eval runs/austen/model --perplexity emma.txt\nfledge eval runs/austen/model "
                            "--perplexity emma.txt --stride 64 --json");
  verb->group("Measure");
  verb->add_option("DIR", options->model, "Folder of the model, or of a run")->required();
  verb->add_option("--perplexity", options->perplexity, "Text file: prints loss per token, perplexity, bits per byte")
      ->type_name("FILE")
      ->required()
      ->group("Measure");
  verb->add_option("--stride", options->stride,
                   "Tokens between windows; smaller ones give each token more context and take longer (default: the "
                   "whole context)")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31))
      ->group("Measure");
  verb->add_option("--chunk", options->chunk,
                   "Cut the text into chunks of N tokens and score the second half of each, as llama.cpp does")
      ->type_name("N")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 31))
      ->excludes("--stride")
      ->group("Measure");
  add_precision_option(*verb, options->precision, "auto");
  add_json_option(*verb, options->json, "The numbers as one JSON object");
  verb->callback([options, &context] { context.run = [options, &context] { run_eval(*options, context.common); }; });
}

}  // namespace fledge::cli
