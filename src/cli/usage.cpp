#include "cli/usage.h"

#include <fmt/format.h>

#include <vector>

#include "base/nearest.h"
#include "base/terminal.h"
#include "cli/help.h"

namespace fledge::cli {
namespace {

/// The verb that the command line named, down to the last one.
const CLI::App& deepest(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : deepest(*chosen.back());
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates, const std::string& help) {
  std::string hint;
  for (const std::string& candidate : candidates) {
    if (word.size() >= 3 && candidate.starts_with(word) && hint.empty()) hint = candidate;
  }
  if (hint.empty()) hint = base::nearest(word, candidates);
  return hint.empty() ? fmt::format("`{} --help` lists what there is", help) : fmt::format("did you mean {}?", hint);
}

/// What to say about a word that nothing took.
std::string unexpected(const CLI::App& app, const std::string& word) {
  const std::string name = full_name(app), shown = base::printable(word);
  if (word.size() > 1 && word[0] == '-') {
    const std::string flag = word.substr(0, word.find('='));
    return fmt::format("unknown flag {} for `{}`; {}", base::printable(flag), name,
                       did_you_mean(flag, flags_of(app), name));
  }
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(command->get_name());
  if (commands.empty())
    return fmt::format("`{}` does not take the argument \"{}\"; see `{} --help`", name, shown, name);
  return fmt::format("unknown command \"{}\" for `{}`; {}", shown, name, did_you_mean(word, commands, name));
}

}  // namespace

std::string usage_sentence(const CLI::App& root, const CLI::ParseError& error) {
  const CLI::App& verb = deepest(root);
  // An unknown flag is the cause, whatever else was found missing because of it.
  for (const CLI::App* app = &verb; app != nullptr; app = app->get_parent()) {
    if (const auto words = app->remaining(); !words.empty()) return unexpected(*app, words.front());
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    for (const CLI::Option* option : verb.get_options()) {
      if (!option->get_required() || option->count() > 0) continue;
      const bool positional = option->get_positional();
      return fmt::format("`{}` needs {}{}: {}", full_name(verb),
                         positional ? option->get_name(true, false) : "--" + option->get_lnames().front(),
                         positional ? "" : " " + value_name(*option), option->get_description());
    }
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    // The message begins with the option's name.
    const std::string name = std::string(error.what()).substr(0, std::string(error.what()).find(':'));
    const CLI::Option* option = verb.get_option_no_throw(name);
    if (option != nullptr)
      return fmt::format("`{}`: {} needs a value: {} {}", full_name(verb), name, name, value_name(*option));
  }
  std::string text = base::printable(error.what());
  while (!text.empty() && (text.back() == '.' || text.back() == '\n')) text.pop_back();
  return fmt::format("`{}`: {}", full_name(verb), text);
}

}  // namespace fledge::cli
