#pragma once

#include <string>

#include "base/terminal.h"
#include "cli/chat_session.h"

namespace fledge::cli {

/// A token's text in quotes, with line feeds and the like as escapes: one line, whatever a model makes.
std::string quoted_token(const nn::Tokenizer& tokenizer, int32_t token);

/// The answer's tokens, one on each line: its probability, its text and the likeliest others.
std::string probabilities_view(const Answer& answer, const nn::Tokenizer& tokenizer, const base::Terminal& terminal);

/// What the last turn was made of: the new tokens of the prompt and those of the answer, with their numbers.
std::string tokens_view(const Answer& answer, const nn::Tokenizer& tokenizer, const base::Terminal& terminal);

/// One line on how an answer ended, where that is not by itself; empty where it is.
std::string end_note(const Answer& answer, const ChatSession& session);

}  // namespace fledge::cli
