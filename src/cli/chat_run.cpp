#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <iterator>

#include "base/error.h"
#include "base/json.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/chat.h"
#include "cli/chat_commands.h"
#include "cli/chat_continuation.h"
#include "cli/chat_input.h"
#include "cli/chat_view.h"
#include "cli/common.h"

namespace fledge::cli {
namespace {

/// Likeliest tokens that /probs shows beside each one.
constexpr int64_t kAlternatives = 5;

ChatSettings settings_for(OpenedModel& opened, const ChatOptions& options, bool base_model) {
  const base::Json config = generation_config_of(opened);
  ChatSettings settings = settings_of_model(config, (opened.folder / models::kGenerationConfigFile).string());
  if (base_model && !config.contains("max_new_tokens")) settings.max_tokens = options.sampling.max_tokens;
  for (const auto& [name, value] : options.given) set_value(settings, name, value);
  settings.stop = options.sampling.stop;
  return settings;
}

/// Reads and does one message or command after the other. `answer` returns false when the user leaves, and sets its
/// second argument where Ctrl+C ended an answer.
void converse(const std::function<bool(const std::string&, bool&)>& answer) {
  ChatInput input;
  int interrupts = 0;  // in a row
  while (true) {
    flush_standard_output();
    std::string message;
    const InputKind kind = input.read_message(message);
    if (kind == InputKind::end) return;
    if (kind == InputKind::interrupted && ++interrupts >= 2) throw base::Interrupted("left by Ctrl+C");
    if (kind == InputKind::interrupted) print("(Ctrl+C again or /bye leaves)\n");
    if (kind == InputKind::dropped) interrupts = 0;
    if (kind != InputKind::line) continue;
    bool stopped = false;
    try {
      if (!answer(message, stopped)) return;
    } catch (const ConversationTooLong& error) {
      print(fmt::format("{}: /clear begins anew, /save FILE keeps this conversation\n", error.what()));
    } catch (const base::Error& error) {
      print(fmt::format("{}\n", base::printable(error.what())));
    }
    interrupts = stopped ? 1 : 0;
  }
}

void continue_texts(ContinuationSession& session, const ChatOptions& options, const CommonOptions& common) {
  if (options.prompt) {
    if (session.continue_from(valid_utf8(*options.prompt))) throw base::Interrupted("stopped by the user");
    return;
  }
  if (!common.quiet) {
    print(fmt::format("{} has no chat template: type the beginning of a text, /help for help, /bye to leave.\n",
                      base::printable(session.model_name())));
  }
  converse([&](const std::string& line, bool&) { return session.handle(line); });
}

/// One answer, plain on standard output.
void answer_once(ChatSession& session, const std::string& message, const CommonOptions& common) {
  const bool safe = base::describe_terminal(1).interactive;
  Answer answer;
  try {
    answer = session.ask(message, [&](const std::string& text) {
      print(safe ? base::printable(text) : text);
      flush_standard_output();
    });
  } catch (const ConversationTooLong& error) {
    throw base::UsageError("{}: shorten the message", error.what());
  }
  print("\n");
  if (answer.end == AnswerEnd::interrupted) throw base::Interrupted("stopped by the user");
  const std::string note = end_note(answer, session);
  flush_standard_output();
  if (!note.empty() && !common.quiet) fmt::print(stderr, "({})\n", note);
}

void chat_in_terminal(ChatSession& session, const CommonOptions& common) {
  session.keep_alternatives(kAlternatives);
  if (!common.quiet) {
    print(fmt::format("{}, context {} tokens: /help for help, /bye to leave.\n", base::printable(session.model_name()),
                      base::with_separators(session.context_length())));
  }
  converse([&](const std::string& message, bool& stopped) {
    if (message.find_first_not_of(" \t\n") == std::string::npos) return true;
    const CommandResult result = message[0] == '/' ? run_command(session, message) : answer_message(session, message);
    stopped = result == CommandResult::stopped;
    return result != CommandResult::leave;
  });
}

std::string read_standard_input() {
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  base::throw_if_interrupted();
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace

void run_chat(const ChatOptions& options, const CommonOptions& common) {
  const base::InterruptGuard guard;
  const std::string precision = precision_for_text(options.sampling.precision);
  OpenedModel opened = open_model(options.model, precision, false, options.adapters);
  nn::Tokenizer tokenizer = open_tokenizer(opened);
  Drafting drafting = open_drafting(options.draft, opened, tokenizer, precision, 0);
  auto chat_template = chat_template_of(opened, tokenizer);
  ChatSettings settings = settings_for(opened, options, !chat_template);
  if (!chat_template) {
    if (options.system)
      throw base::UsageError("{} has no chat template, so there is no place for --system", opened.folder.string());
    ContinuationSession session(std::move(opened), std::move(tokenizer), std::move(settings), std::move(drafting));
    return continue_texts(session, options, common);
  }
  const bool once = options.prompt || !::isatty(STDIN_FILENO);
  const std::string message = options.prompt ? *options.prompt : once ? read_standard_input() : "";
  if (once && message.find_first_not_of(" \t\r\n") == std::string::npos)
    throw base::UsageError("there is no message: give one as PROMPT, or on standard input");
  ChatSession session(std::move(opened), std::move(tokenizer), std::move(*chat_template), std::move(settings),
                      std::move(drafting));
  if (options.system) session.set_system(valid_utf8(*options.system));
  if (once) return answer_once(session, valid_utf8(message), common);
  chat_in_terminal(session, common);
}

}  // namespace fledge::cli
