#pragma once

#include <fmt/format.h>

#include <functional>
#include <string_view>
#include <utility>

namespace fledge::base {

enum class LogLevel { debug, info, warning };

/// Receives one finished line without a line feed. May be called from any thread, one call at a time.
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// The library never prints: what it has to say beside its results goes here. Without a sink it is dropped. The
/// command line installs one that writes to standard error, above the progress line.
void set_log_sink(LogSink sink);

void log_line(LogLevel level, std::string_view line);

template <typename... Arguments>
void log_info(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_line(LogLevel::info, fmt::format(format, std::forward<Arguments>(arguments)...));
}

/// Something works, but worse than the user may think (a fallback, a dropped line, a slow path).
template <typename... Arguments>
void log_warning(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_line(LogLevel::warning, fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace fledge::base
