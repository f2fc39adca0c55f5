#include "cli/generate.h"

#include <memory>

#include "cli/adapter_options.h"
#include "cli/common.h"
#include "cli/drafting.h"

namespace fledge::cli {

void add_generate_command(Verb app, Context& context) {
  auto options = std::make_shared<GenerateOptions>();
  Verb verb = add_verb(app, context, "generate", "Continues a text.",
                       "fledge generate runs/austen/model --prompt \"It is a truth\" --max-tokens 80\n"
                       "echo \"She was\" | fledge generate runs/austen/model --temperature 0");
  verb.group("Use");
  verb.add_option("DIR", options->model, "Folder of the model, or of a run").required();
  verb.add_option("-p,--prompt", options->prompt, "The beginning (default: what standard input holds)")
      .type_name("TEXT")
      .group("Prompt");
  verb.add_option("--prompt-ids", options->prompt_ids, "The beginning as token ids: 1,2,3")
      .type_name("IDS")
      .excludes("--prompt")
      .group("Prompt");
  verb.add_flag("--ignore-end", options->ignore_end, "Go on behind tokens that end a text").group("Sampling");
  verb.add_option("--json-schema", options->json_schema,
                  "Answer with JSON that this schema accepts: a file, or the text")
      .type_name("FILE|TEXT")
      .group("Sampling");
  verb.add_option("--regex", options->regex, "Answer with a text that matches this regular expression as a whole")
      .type_name("PATTERN")
      .excludes("--json-schema")
      .group("Sampling");
  verb.add_option("--alternatives", options->alternatives, "Likeliest tokens to list beside each one, with --json")
      .type_name("N")
      .in_range(int64_t{0}, int64_t{1} << 20)
      .group("Output");
  add_adapter_option(verb, options->adapters);
  add_draft_option(verb, options->draft);
  add_sampling_options(verb, options->sampling);
  add_json_option(verb, options->json, "Print one JSON object: text, tokens with log-probabilities, why it ended");
  verb.callback([options, &context] { context.run = [options, &context] { run_generate(*options, context.common); }; });
}

}  // namespace fledge::cli
