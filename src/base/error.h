#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace fledge::base {

/// What every floor throws when something outside the program is wrong: a file, a flag, a value, the machine.
/// The message is one sentence for the user: what was found, what was expected and what to do.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}

  template <typename... Arguments>
  explicit Error(fmt::format_string<Arguments...> format, Arguments&&... arguments)
      : std::runtime_error(fmt::format(format, std::forward<Arguments>(arguments)...)) {}

  /// Exit code of the command that ends with this error.
  virtual int exit_code() const { return 1; }
};

/// The user asked for something that cannot be: an unknown key, a contradiction, a value out of range.
class UsageError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 2; }
};

/// The user stopped the program (Ctrl+C).
class Interrupted : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 130; }
};

}  // namespace fledge::base
