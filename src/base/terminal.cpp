#include "base/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>

namespace fledge::base {
namespace {

std::atomic<bool> color_disabled{false};

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view{} : std::string_view{value};
}

/// The locale by its environment, in the order POSIX gives: the program never calls setlocale().
bool environment_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view value = environment(name);
    if (value.empty()) continue;
    return value.find("UTF-8") != std::string_view::npos || value.find("utf8") != std::string_view::npos ||
           value.find("UTF8") != std::string_view::npos || value.find("utf-8") != std::string_view::npos;
  }
  return false;
}

int terminal_width(int descriptor) {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const std::string_view columns = environment("COLUMNS");
  int width = 0;
  for (const char c : columns.substr(0, 5)) {
    if (c < '0' || c > '9') return 80;
    width = width * 10 + (c - '0');
  }
  return width > 0 ? width : 80;
}

/// Bytes of the escape sequence "ESC [ ... letter" that starts `text`, or 0.
size_t escape_length(std::string_view text) {
  if (text.size() < 2 || text[0] != '\033' || text[1] != '[') return 0;
  size_t length = 2;
  while (length < text.size() && (text[length] < '@' || text[length] > '~')) ++length;
  return std::min(length + 1, text.size());
}

bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

Terminal describe_terminal(int descriptor) {
  Terminal terminal;
  terminal.interactive = isatty(descriptor) == 1 && environment("TERM") != "dumb";
  terminal.color = terminal.interactive && environment("NO_COLOR").empty() && !color_disabled;
  terminal.unicode = environment_is_utf8();
  terminal.width = terminal_width(descriptor);
  return terminal;
}

void disable_color() {
  color_disabled = true;
}

std::string styled(std::string_view text, Style style, const Terminal& terminal) {
  if (!terminal.color || text.empty()) return std::string(text);
  constexpr int kCodes[] = {1, 2, 31, 32, 33, 34, 36};
  return fmt::format("\033[{}m{}\033[0m", kCodes[static_cast<size_t>(style)], text);
}

size_t display_width(std::string_view text) {
  size_t columns = 0;
  for (size_t position = 0; position < text.size();) {
    if (const size_t escape = escape_length(text.substr(position))) {
      position += escape;
      continue;
    }
    columns += continues_character(text[position]) ? 0 : 1;
    ++position;
  }
  return columns;
}

std::string_view fit_width(std::string_view text, size_t columns) {
  size_t used = 0;
  for (size_t position = 0; position < text.size();) {
    if (const size_t escape = escape_length(text.substr(position))) {
      position += escape;
      continue;
    }
    if (!continues_character(text[position]) && ++used > columns) return text.substr(0, position);
    ++position;
  }
  return text;
}

std::string wrapped(std::string_view text, size_t width, size_t indent) {
  std::string result;
  size_t column = indent;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (word.empty()) continue;
    const size_t columns = display_width(word);
    if (column > indent && column + 1 + columns > width) {
      result += '\n';
      result.append(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += word;
    column += columns;
  }
  return result;
}

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

std::string with_separators(long long number) {
  const std::string digits = fmt::format("{}", number);
  std::string result;
  for (size_t position = 0; position < digits.size(); ++position) {
    const size_t remaining = digits.size() - position;
    if (remaining % 3 == 0 && position > (number < 0 ? 1u : 0u)) result += ',';
    result += digits[position];
  }
  return result;
}

std::string format_bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024.0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0.0) || seconds > 1e10) return "?";
  const auto whole = static_cast<long long>(std::llround(seconds));
  const long long hours = whole / 3600, minutes = whole / 60 % 60;
  if (hours >= 48) return fmt::format("{} d {} h", hours / 24, hours % 24);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
  return fmt::format("{}:{:02}", minutes, whole % 60);
}

}  // namespace fledge::base
