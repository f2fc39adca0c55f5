#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/terminal.h"

namespace fledge::cli {
namespace {

constexpr size_t kLeftColumn = 26;

/// "-p, --prompt TEXT" or "RECIPE.toml".
std::string signature(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true, false) + (option.get_expected_max() > 1 ? "..." : "");
  std::string text;
  for (const std::string& name : option.get_snames()) text += (text.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) text += (text.empty() ? "--" : ", --") + name;
  if (option.get_expected_max() > 0 && option.get_type_size_max() > 0) text += " " + value_name(option);
  return text;
}

}  // namespace

std::string value_name(const CLI::Option& option) {
  // CLI11 puts the description of a check behind the name: "N:INT in [1 - 4096]".
  const std::string name = option.get_type_name();
  return name.substr(0, name.find(':'));
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

std::string HelpFormatter::usage(const CLI::App& app) const {
  std::string text = "Usage: " + full_name(app);
  if (!app.get_subcommands([](const CLI::App*) { return true; }).empty()) return text + " COMMAND [FLAGS]\n";
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = signature(*option);
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || !option->get_required()) continue;
    text += " " + signature(*option);
  }
  return text + " [FLAGS]\n";
}

std::string HelpFormatter::row(const std::string& left, const std::string& right) const {
  std::string text = "  " + left;
  size_t column = text.size();
  if (column + 2 > kLeftColumn) {
    text += "\n";
    column = 0;
  }
  text += std::string(kLeftColumn - column, ' ');
  return text + base::wrapped(right, width_, kLeftColumn) + "\n";
}

std::string HelpFormatter::options(const CLI::App& app) const {
  std::vector<std::string> groups;
  for (const CLI::Option* option : app.get_options()) {
    const std::string group = option->get_positional() ? "Arguments" : option->get_group();
    if (!group.empty() && std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  // What the verb is about comes first, what every verb has comes last.
  std::stable_partition(groups.begin(), groups.end(), [](const std::string& group) { return group != "Common"; });
  std::stable_partition(groups.begin(), groups.end(), [](const std::string& group) { return group == "Arguments"; });
  std::string text;
  for (const std::string& group : groups) {
    text += "\n" + group + ":\n";
    for (const CLI::Option* option : app.get_options()) {
      if ((option->get_positional() ? "Arguments" : option->get_group()) != group) continue;
      text += row(signature(*option), option->get_description());
    }
  }
  return text;
}

std::string HelpFormatter::commands(const CLI::App& app) const {
  std::vector<std::string> groups;
  const auto all = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : all) {
    const std::string& group = command->get_group();
    if (!group.empty() && std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  std::string text;
  for (const std::string& group : groups) {
    text += "\n" + (group == "Subcommands" ? std::string("Commands") : group) + ":\n";
    for (const CLI::App* command : all) {
      if (command->get_group() == group) text += row(command->get_name(), command->get_description());
    }
  }
  return text;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string /*name*/, CLI::AppFormatMode /*mode*/) const {
  std::string text = app->get_description() + "\n\n" + usage(*app) + commands(*app) + options(*app);
  if (!app->get_footer().empty()) {
    text += "\nExample:\n";
    std::istringstream lines(app->get_footer());
    for (std::string line; std::getline(lines, line);) text += "  " + line + "\n";
  }
  return text;
}

}  // namespace fledge::cli
