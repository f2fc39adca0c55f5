#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

// What a verb says of its command line. The verbs see CLI11 through these two classes alone: its header, and the code
// that each file including it makes anew, take several times as long to compile as all else of a verb.

namespace fledge::cli {

/// A flag or an argument of a verb. A handle: the program's CLI::App owns what it stands for. Functions named as
/// those of CLI::Option do the same.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option type_name(const std::string& name);
  Option group(const std::string& name);
  Option description(const std::string& help);
  Option required();
  Option excludes(Option other);
  Option excludes(const std::string& name);
  Option expected(int least, int most);
  Option allow_extra_args(bool allow);
  Option delimiter(char character);
  Option envname(const std::string& name);

  /// A value from `first` to `last`, both included, compared in their type.
  Option in_range(int first, int last);
  Option in_range(int64_t first, int64_t last);
  Option in_range(double first, double last);
  Option one_of(std::initializer_list<const char*> values);
  Option existing_directory();

  /// Whether the command line has it, and what it says there last.
  bool given() const;
  std::string last_value() const;

 private:
  CLI::Option* option_;
};

/// A verb with its flags, or one that only has further verbs below it. A handle as well.
class Verb {
 public:
  explicit Verb(CLI::App* app) : app_(app) {}

  Verb add_subcommand(const std::string& name, const std::string& purpose);
  void require_subcommand(size_t least, size_t most);

  /// `T` is one of the types at the end of verb.cpp, and a flag's too.
  template <typename T>
  Option add_option(const std::string& names, T& value, const std::string& help);
  template <typename T>
  Option add_flag(const std::string& names, T& value, const std::string& help);
  Option option(const std::string& name) const;
  Option help_flag() const;

  void group(const std::string& name);
  void footer(const std::string& text);
  void callback(const std::function<void()>& chosen);

 private:
  CLI::App* app_;
};

}  // namespace fledge::cli
