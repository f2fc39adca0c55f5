#include "cli/compare.h"

#include <memory>

#include "cli/common.h"
#include "cli/sampling_options.h"

namespace fledge::cli {

void add_compare_command(Verb app, Context& context) {
  auto options = std::make_shared<CompareOptions>();
  Verb verb = add_verb(app, context, "compare", "Measures models alike and shows them side by side.",
                       "fledge compare smollm2 runs/sft-chat --chats held-out.jsonl --text emma.txt --html "
                       "report.html\nfledge compare runs/teacher runs/student --text emma.txt");
  verb.group("Measure");
  verb.add_option("MODEL", options->models, "Two models or more: folders, runs, names or GGUF files")
      .required()
      .expected(2, 16);
  verb.add_option("--prompts", options->prompts,
                  "Prompts to answer, as JSON lines with rules that answers must keep, or a .txt with a prompt a line "
                  "(default: fledge's own)")
      .type_name("FILE")
      .group("Measure");
  verb.add_option("--chats", options->chats,
                  "Held-out conversations: the loss of the assistant's tokens, for models with a chat template")
      .type_name("FILE")
      .group("Measure");
  verb.add_option("--text", options->text, "Plain text: perplexity and bits per byte, to see what was forgotten")
      .type_name("FILE")
      .group("Measure");
  verb.add_option("--tasks", options->tasks, "Tasks as of `fledge eval --tasks`")
      .type_name("FILE,...")
      .delimiter(',')
      .group("Measure");
  verb.add_option("--limit", options->limit, "Take the first N conversations and examples of each task")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1} << 31)
      .group("Measure");
  verb.add_option("--max-tokens", options->max_tokens, "Longest answer to a prompt")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1} << 20)
      .group("Measure");
  verb.add_flag("--no-answers", options->skip_answers, "Leave the prompts out").group("Measure");
  verb.add_flag("--no-speed", options->skip_speed, "Leave the timings out").group("Measure");
  verb.add_option("--html", options->html, "Write the whole report, with the answers, as a page")
      .type_name("FILE")
      .group("Output");
  add_precision_option(verb, options->precision, "auto");
  add_json_option(verb, options->json, "Everything as one JSON object");
  verb.callback([options, &context] { context.run = [options, &context] { run_compare(*options, context.common); }; });
}

}  // namespace fledge::cli
