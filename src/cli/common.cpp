#include "cli/common.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/machine.h"

namespace fledge::cli {
namespace {

std::string unwritten;  ///< what print() got and standard output has not seen

void show_log_line(base::LogLevel level, std::string_view line, bool quiet) {
  if (level == base::LogLevel::debug || (quiet && level != base::LogLevel::warning)) return;
  const base::Terminal terminal = base::describe_terminal(2);
  std::string text = base::printable(line);
  if (level == base::LogLevel::warning) text = base::styled("warning:", base::Style::yellow, terminal) + " " + text;
  if (base::Progress* progress = base::active_progress()) {
    progress->note(text);
  } else {
    fmt::print(stderr, "{}\n", text);
  }
}

}  // namespace

void add_common_options(Verb app, Context& context) {
  app.add_option("--threads", context.common.threads, "Threads for the arithmetic (default: one for each usable core)")
      .type_name("N")
      .in_range(1, 4096)
      .group("Common");
  app.add_flag("--no-color", context.common.no_color, "No colours; the variable NO_COLOR says the same")
      .group("Common");
  app.add_flag("-q,--quiet", context.common.quiet, "No progress; warnings and errors only").group("Common");
}

Verb add_verb(Verb parent, Context& context, const std::string& name, const std::string& purpose,
              const std::string& example) {
  Verb verb = parent.add_subcommand(name, purpose);
  verb.footer(example);
  verb.group("Commands");
  verb.help_flag().group("Common");
  add_common_options(verb, context);
  return verb;
}

Verb add_verb_family(Verb parent, const std::string& group, const std::string& name, const std::string& purpose,
                     const std::string& example) {
  Verb verb = parent.add_subcommand(name, purpose);
  verb.footer(example);
  verb.group(group);
  verb.help_flag().group("Common");
  verb.require_subcommand(0, 1);
  return verb;
}

Option add_json_option(Verb app, bool& json, const std::string& help) {
  return app.add_flag("--json", json, help).group("Output");
}

void apply_common_options(const CommonOptions& common) {
  if (common.no_color) base::disable_color();
  if (common.threads > 0) {
    base::set_thread_count(common.threads);
  } else if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    base::set_thread_count(usable_cores());
  }
  const bool quiet = common.quiet;
  base::set_log_sink([quiet](base::LogLevel level, std::string_view line) { show_log_line(level, line, quiet); });
}

// Not the C library's stream: that one gives up, and forgets what it held, where Ctrl+C comes in the middle of a write.
void print(std::string_view text) {
  constexpr size_t kBufferBytes = size_t{64} << 10;
  static const bool by_lines = isatty(STDOUT_FILENO) == 1;
  unwritten.append(text);
  if (unwritten.size() >= kBufferBytes || (by_lines && text.find('\n') != text.npos)) flush_standard_output();
}

void flush_standard_output() {
  const std::string text = std::exchange(unwritten, {});
  if (!base::write_all(STDOUT_FILENO, text)) {
    throw base::Error("standard output cannot be written: {}", std::strerror(errno));
  }
}

}  // namespace fledge::cli
