#include "cli/chat_commands.h"

#include <fmt/format.h>

#include <functional>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"
#include "cli/chat_view.h"
#include "cli/common.h"

namespace fledge::cli {
namespace {

struct Command {
  const char* name;
  const char* argument;  ///< empty: takes none
  const char* help;
  std::function<CommandResult(ChatSession&, const std::string&)> run;
};

CommandResult tell(const std::string& text) {
  print(text);
  return CommandResult::done;
}

/// Text of a model on a terminal: nothing in it may steer the terminal.
void show_safely(const std::string& text) {
  print(base::printable(text));
  flush_standard_output();
}

CommandResult after_answer(const Answer& answer, const ChatSession& session) {
  print("\n");
  const std::string note = end_note(answer, session);
  if (!note.empty()) print(base::styled("(" + note + ")", base::Style::dim, base::describe_terminal(1)) + "\n");
  print("\n");
  return answer.end == AnswerEnd::interrupted ? CommandResult::stopped : CommandResult::done;
}

CommandResult change_system(ChatSession& session, const std::string& text) {
  if (text.empty()) {
    const std::string system = session.system();
    return tell(system.empty() ? "no system message; /system TEXT sets one\n" : base::printable(system) + "\n");
  }
  session.set_system(text == "off" ? "" : text);
  return tell(text == "off" ? "no system message from here on\n" : "the system message is set\n");
}

const Answer& last_answer(const ChatSession& session) {
  if (!session.last_answer()) throw base::UsageError("there is no answer to look at yet");
  return *session.last_answer();
}

CommandResult show_probabilities(ChatSession& session, const std::string&) {
  return tell(probabilities_view(last_answer(session), session.tokenizer(), base::describe_terminal(1)));
}

CommandResult show_tokens(ChatSession& session, const std::string&) {
  return tell(tokens_view(last_answer(session), session.tokenizer(), base::describe_terminal(1)));
}

CommandResult change_setting(ChatSession& session, const std::string& text) {
  if (text.empty()) return tell(describe(session.settings()));
  const size_t end = text.find(' ');
  const size_t value = end == std::string::npos ? end : text.find_first_not_of(' ', end);
  set_value(session.settings(), text.substr(0, end), value == std::string::npos ? "" : text.substr(value));
  return CommandResult::done;
}

CommandResult save(ChatSession& session, const std::string& file) {
  if (file.empty()) throw base::UsageError("/save needs a file: /save chat.json");
  base::write_file(file, session.to_json().dump(2, ' ', false, base::Json::error_handler_t::replace) + "\n");
  return tell(fmt::format("saved {} messages in {}\n", session.messages().size(), base::printable(file)));
}

CommandResult load(ChatSession& session, const std::string& file) {
  if (file.empty()) throw base::UsageError("/load needs a file: /load chat.json");
  session.load(base::parse_ordered_json(base::read_file(file), file), file);
  for (const auto& message : session.messages()) {
    print(fmt::format(
        "{} {}\n",
        base::styled(message["role"].get<std::string>() + ":", base::Style::bold, base::describe_terminal(1)),
        base::printable(message["content"].get<std::string>())));
  }
  return tell(fmt::format("loaded {} messages from {}\n", session.messages().size(), base::printable(file)));
}

CommandResult show_help(ChatSession&, const std::string&);

const std::vector<Command>& all_commands() {
  static const std::vector<Command> commands = {
      {"/system", "TEXT", "what the model is told before the conversation; alone: show it; off: none", change_system},
      {"/regen", "", "another answer to the last message",
       [](ChatSession& session, const std::string&) {
         const Answer answer = session.answer_again(show_safely);
         return after_answer(answer, session);
       }},
      {"/set", "KEY VALUE", "change how answers are drawn; alone: show the settings", change_setting},
      {"/probs", "", "the last answer's tokens with their probabilities and the likeliest others", show_probabilities},
      {"/tokens", "", "the last turn as tokens", show_tokens},
      {"/prompt", "", "the text that the model reads, exactly as its template renders it",
       [](ChatSession& session, const std::string&) { return tell(base::printable(session.rendered()) + "\n"); }},
      {"/save", "FILE", "keep messages and settings as JSON", save},
      {"/load", "FILE", "go on with a kept conversation", load},
      {"/clear", "", "begin anew; the system message stays",
       [](ChatSession& session, const std::string&) {
         session.clear();
         return tell("the conversation is forgotten\n");
       }},
      {"/help", "", "this list", show_help},
      {"/bye", "", "leave (or Ctrl+D)", [](ChatSession&, const std::string&) { return CommandResult::leave; }},
  };
  return commands;
}

CommandResult show_help(ChatSession&, const std::string&) {
  std::string text;
  for (const Command& command : all_commands())
    text += fmt::format("  {:<17} {}\n", fmt::format("{} {}", command.name, command.argument), command.help);
  text +=
      "  \"\"\"               begins and ends a message of several lines\n"
      "  Ctrl+C            stops an answer; twice at the prompt: leaves\n";
  return tell(text);
}

}  // namespace

CommandResult answer_message(ChatSession& session, const std::string& message) {
  const Answer answer = session.ask(message, show_safely);
  return after_answer(answer, session);
}

CommandResult run_command(ChatSession& session, const std::string& line) {
  const size_t end = line.find_first_of(" \t\n");
  std::string name = line.substr(0, end);
  std::string argument = end == std::string::npos ? "" : line.substr(end + 1);
  argument.erase(0, std::min(argument.size(), argument.find_first_not_of(" \t\n")));
  argument.erase(argument.find_last_not_of(" \t\n") + 1);
  if (name == "/exit" || name == "/quit") name = "/bye";
  std::vector<std::string> names;
  for (const Command& command : all_commands()) {
    names.emplace_back(command.name);
    if (name != command.name) continue;
    if (*command.argument == '\0' && !argument.empty())
      throw base::UsageError("{} takes nothing behind it", command.name);
    return command.run(session, argument);
  }
  const std::string near = base::nearest(name, names);
  throw base::UsageError("{} is not known; {}", name,
                         near.empty() ? "/help lists what is" : fmt::format("did you mean {}?", near));
}

}  // namespace fledge::cli
