#include "cli/verb.h"

#include <CLI/CLI.hpp>
#include <optional>
#include <vector>

namespace fledge::cli {

Option Option::type_name(const std::string& name) {
  return Option(option_->type_name(name));
}

Option Option::group(const std::string& name) {
  return Option(option_->group(name));
}

Option Option::description(const std::string& help) {
  return Option(option_->description(help));
}

Option Option::required() {
  return Option(option_->required());
}

Option Option::excludes(Option other) {
  return Option(option_->excludes(other.option_));
}

Option Option::excludes(const std::string& name) {
  return Option(option_->excludes(name));
}

Option Option::expected(int least, int most) {
  return Option(option_->expected(least, most));
}

Option Option::allow_extra_args(bool allow) {
  return Option(option_->allow_extra_args(allow));
}

Option Option::delimiter(char character) {
  return Option(option_->delimiter(character));
}

Option Option::envname(const std::string& name) {
  return Option(option_->envname(name));
}

Option Option::in_range(int first, int last) {
  return Option(option_->check(CLI::Range(first, last)));
}

Option Option::in_range(int64_t first, int64_t last) {
  return Option(option_->check(CLI::Range(first, last)));
}

Option Option::in_range(double first, double last) {
  return Option(option_->check(CLI::Range(first, last)));
}

Option Option::one_of(std::initializer_list<const char*> values) {
  return Option(option_->check(CLI::IsMember(values)));
}

Option Option::existing_directory() {
  return Option(option_->check(CLI::ExistingDirectory));
}

bool Option::given() const {
  return option_->count() > 0;
}

std::string Option::last_value() const {
  return option_->results().back();
}

Verb Verb::add_subcommand(const std::string& name, const std::string& purpose) {
  return Verb(app_->add_subcommand(name, purpose));
}

void Verb::require_subcommand(size_t least, size_t most) {
  app_->require_subcommand(least, most);
}

template <typename T>
Option Verb::add_option(const std::string& names, T& value, const std::string& help) {
  return Option(app_->add_option(names, value, help));
}

template <typename T>
Option Verb::add_flag(const std::string& names, T& value, const std::string& help) {
  return Option(app_->add_flag(names, value, help));
}

Option Verb::option(const std::string& name) const {
  return Option(app_->get_option(name));
}

Option Verb::help_flag() const {
  return Option(app_->get_help_ptr());
}

void Verb::group(const std::string& name) {
  app_->group(name);
}

void Verb::footer(const std::string& text) {
  app_->footer(text);
}

void Verb::callback(const std::function<void()>& chosen) {
  app_->callback(chosen);
}

template Option Verb::add_flag(const std::string&, bool&, const std::string&);

template Option Verb::add_option(const std::string&, uint16_t&, const std::string&);
template Option Verb::add_option(const std::string&, int&, const std::string&);
template Option Verb::add_option(const std::string&, int64_t&, const std::string&);
template Option Verb::add_option(const std::string&, uint64_t&, const std::string&);
template Option Verb::add_option(const std::string&, double&, const std::string&);
template Option Verb::add_option(const std::string&, std::string&, const std::string&);
template Option Verb::add_option(const std::string&, std::optional<int64_t>&, const std::string&);
template Option Verb::add_option(const std::string&, std::optional<uint64_t>&, const std::string&);
template Option Verb::add_option(const std::string&, std::optional<std::string>&, const std::string&);
template Option Verb::add_option(const std::string&, std::vector<std::string>&, const std::string&);

}  // namespace fledge::cli
