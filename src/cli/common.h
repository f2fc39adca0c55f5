#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cli/verb.h"

namespace fledge::cli {

/// Flags that every verb takes.
struct CommonOptions {
  int threads = 0;  ///< 0: one for each core that may be used
  bool no_color = false;
  bool quiet = false;
};

/// What parsing the command line leaves behind: the common flags and the chosen verb, ready to run.
struct Context {
  CommonOptions common;
  std::function<void()> run;
};

/// Adds a verb with its one-line purpose, an example and the common flags. `example` is one command line or more.
Verb add_verb(Verb parent, Context& context, const std::string& name, const std::string& purpose,
              const std::string& example);

/// Adds a verb that only has further verbs below it; `group` is its heading in the help.
Verb add_verb_family(Verb parent, const std::string& group, const std::string& name, const std::string& purpose,
                     const std::string& example);

/// Adds --threads, --no-color and --quiet.
void add_common_options(Verb app, Context& context);

/// Adds --json with what it prints.
Option add_json_option(Verb app, bool& json, const std::string& help);

/// Makes the common flags take effect: colour, threads, and warnings of the library on standard error.
void apply_common_options(const CommonOptions& common);

/// Writes results to standard output. Throws Error where that fails (a full disk).
void print(std::string_view text);
/// What was printed is read now: before a prompt, and at the end.
void flush_standard_output();

}  // namespace fledge::cli
