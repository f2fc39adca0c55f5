#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fledge::cli {

/// Help written for people: the purpose, how to call, flags by group, an example. Lines fit the terminal.
class HelpFormatter : public CLI::FormatterBase {
 public:
  explicit HelpFormatter(int width) : width_(static_cast<size_t>(width)) {}
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;

 private:
  std::string usage(const CLI::App& app) const;
  std::string row(const std::string& left, const std::string& right) const;
  std::string options(const CLI::App& app) const;
  std::string commands(const CLI::App& app) const;
  size_t width_;
};

/// What stands for an option's value in help: "N", "FILE".
std::string value_name(const CLI::Option& option);

/// "fledge tokenizer train": a verb with those it belongs to.
std::string full_name(const CLI::App& app);

}  // namespace fledge::cli
