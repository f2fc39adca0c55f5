#pragma once

#include <string>

#include "cli/chat_settings.h"
#include "cli/drafting.h"
#include "cli/loaded_model.h"

namespace fledge::cli {

/// The conversation with a base model, which was not trained to chat: a beginning, and what was made of it.
class ContinuationSession {
 public:
  ContinuationSession(OpenedModel opened, nn::Tokenizer tokenizer, ChatSettings settings, Drafting drafting);

  std::string model_name() const { return opened_.folder.string(); }

  /// Prints `text` and what the model makes of it; Ctrl+C ends it. Returns whether it did.
  bool continue_from(const std::string& text);
  /// Does what a line says. Throws base::Error where that cannot be done. False when the user leaves.
  bool handle(const std::string& line);

 private:
  ChatSettings settings_;
  OpenedModel opened_;
  nn::Tokenizer tokenizer_;
  Drafting drafting_;
  std::string beginning_, whole_;
};

}  // namespace fledge::cli
