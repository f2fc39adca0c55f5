#pragma once

#include <string>

#include "cli/sampling_options.h"

namespace fledge::cli {

struct Context;
struct CommonOptions;

struct ChatOptions {
  std::string model;  ///< folder
  SamplingOptions sampling;
};

void add_chat_command(CLI::App& app, Context& context);

/// Opens a prompt; the model continues what is typed.
void run_chat(const ChatOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
