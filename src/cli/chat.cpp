#include "cli/chat.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/common.h"

namespace fledge::cli {

void add_chat_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* verb = add_verb(app, context, "chat", "Opens a prompt where the model continues what you type.",
                            "fledge chat runs/austen/model");
  verb->group("Use");
  verb->add_option("DIR", options->model, "Folder of the model, or of a run")->required();
  add_sampling_options(*verb, options->sampling);
  verb->callback([options, &context] { context.run = [options, &context] { run_chat(*options, context.common); }; });
}

}  // namespace fledge::cli
