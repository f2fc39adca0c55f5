#include "cli/chat.h"

#include <memory>

#include "cli/adapter_options.h"
#include "cli/common.h"
#include "cli/drafting.h"

namespace fledge::cli {
namespace {

/// The sampling flags on the command line: what is not among them is the model's choice.
std::vector<std::pair<std::string, std::string>> given_settings(const Verb& verb) {
  std::vector<std::pair<std::string, std::string>> given;
  for (const char* name : {"max-tokens", "temperature", "top-k", "top-p", "min-p", "repetition-penalty", "seed"}) {
    const Option option = verb.option("--" + std::string(name));
    if (option.given()) given.emplace_back(name, option.last_value());
  }
  return given;
}

}  // namespace

void add_chat_command(Verb app, Context& context) {
  auto options = std::make_shared<ChatOptions>();
  Verb verb = add_verb(app, context, "chat", "Talks with a model; with a base model, continues what you type.",
                       "fledge chat smollm2\n"
                       "fledge chat smollm2 \"Why is the sky blue?\"\n"
                       "fledge chat smollm2 --system \"Answer in French.\" <question.txt");
  verb.group("Use");
  verb.add_option("MODEL", options->model, "Folder of the model or of a run, a GGUF file, or a name in the store")
      .required();
  verb.add_option("PROMPT", options->prompt, "Print one answer to this and end (so does a pipe)");
  verb.add_option("--system", options->system, "What the model is told before the conversation")
      .type_name("TEXT")
      .group("Prompt");
  add_adapter_option(verb, options->adapters);
  add_draft_option(verb, options->draft);
  add_sampling_options(verb, options->sampling);
  verb.add_option("--repetition-penalty", options->repetition_penalty,
                  "Makes tokens that occurred before less likely (default: 1, not at all)")
      .type_name("R")
      .group("Sampling");
  for (const auto& [name, help] :
       {std::pair{"--max-tokens", "Tokens of an answer at most (default: the model's, or 1024)"},
        std::pair{"--temperature",
                  "Evenness of the choice; 0 takes the likeliest token (default: the model's, or 0.8)"},
        std::pair{"--top-k", "Choose among the K likeliest tokens; 0: all (default: the model's)"},
        std::pair{"--top-p",
                  "Choose among the likeliest tokens that together have probability P (default: the model's)"}}) {
    verb.option(name).description(help);
  }
  verb.callback([options, verb, &context] {
    options->given = given_settings(verb);
    context.run = [options, &context] { run_chat(*options, context.common); };
  });
}

}  // namespace fledge::cli
