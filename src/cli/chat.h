#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/sampling_options.h"

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct ChatOptions {
  std::string model;
  std::optional<std::string> prompt;  ///< answer this one message and end
  std::optional<std::string> system;
  std::vector<std::string> adapters;  ///< "DIR" or "DIR=WEIGHT"
  std::string draft;                  ///< see open_drafting(); empty: nothing guesses ahead
  SamplingOptions sampling;
  double repetition_penalty = 1;
  /// The settings among the flags that the user gave, as `/set` takes them; the others are the model's own.
  std::vector<std::pair<std::string, std::string>> given;
};

void add_chat_command(Verb app, Context& context);

/// A conversation, or one answer where there is a prompt or standard input is no terminal. With a base model, which has
/// no chat template, a prompt where the model continues what is typed.
void run_chat(const ChatOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
