#pragma once

#include <string>

#include "cli/chat_session.h"

namespace fledge::cli {

/// Shows an answer as it is made, and what there is to say about how it ended.
/// Returns whether Ctrl+C ended it.
enum class CommandResult : uint8_t { done, leave, stopped };

/// Answers a message in a terminal.
CommandResult answer_message(ChatSession& session, const std::string& message);

/// Does what a line that begins with "/" says. Throws base::Error where that cannot be done.
CommandResult run_command(ChatSession& session, const std::string& line);

}  // namespace fledge::cli
