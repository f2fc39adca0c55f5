#include "base/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fledge::base {
namespace {

constexpr size_t kMaximumBytes = size_t{1} << 20;
constexpr int kMaximumDepth = 16;

/// Skips a string that starts at `position` and returns the position behind it.
size_t skip_string(std::string_view text, size_t position) {
  const char quote = text[position];
  const std::string triple(3, quote);
  const bool multiline = text.substr(position, 3) == triple;
  position += multiline ? 3 : 1;
  while (position < text.size()) {
    if (quote == '"' && text[position] == '\\') {
      position += 2;
    } else if (multiline ? text.substr(position, 3) == triple : text[position] == quote) {
      return position + (multiline ? 3 : 1);
    } else if (!multiline && text[position] == '\n') {
      return position;  // Not closed: the parser says so.
    } else {
      ++position;
    }
  }
  return text.size();
}

/// Refuses deep nesting before the parser, whose tables are destroyed recursively, sees it: brackets inside each other
/// and parts of one dotted key.
void check_depth(std::string_view text, std::string_view origin) {
  int brackets = 0, dots = 0, line = 1;
  for (size_t position = 0; position < text.size();) {
    const char c = text[position];
    if (c == '"' || c == '\'') {
      const size_t end = std::min(skip_string(text, position), text.size());
      line += static_cast<int>(std::count(text.begin() + static_cast<ptrdiff_t>(position),
                                          text.begin() + static_cast<ptrdiff_t>(end), '\n'));
      position = end;
      continue;
    }
    if (c == '#') {
      position = std::min(text.find('\n', position), text.size());
      continue;
    }
    if (c == '[' || c == '{') ++brackets;
    if (c == ']' || c == '}') --brackets;
    if (c == '.') {
      ++dots;
    } else if (c == '\n' || c == '=' || c == '[' || c == '{' || c == ',') {
      dots = 0;
    }
    if (brackets > kMaximumDepth || dots >= kMaximumDepth)
      throw Error("{}:{}: nested deeper than {} levels", origin, line, kMaximumDepth);
    if (c == '\n') ++line;
    ++position;
  }
}

[[noreturn]] void fail(std::string_view origin, const toml::source_position& position, std::string_view problem) {
  throw Error("{}:{}:{}: {}", origin, position.line, position.column, problem);
}

/// A value as JSON; tables only inside arrays.
Json value_of(const toml::node& node, std::string_view origin) {
  switch (node.type()) {
    case toml::node_type::boolean:
      return node.as_boolean()->get();
    case toml::node_type::integer:
      return node.as_integer()->get();
    case toml::node_type::floating_point:
      return node.as_floating_point()->get();
    case toml::node_type::string:
      return node.as_string()->get();
    case toml::node_type::array: {
      Json array = Json::array();
      for (const toml::node& element : *node.as_array()) array.push_back(value_of(element, origin));
      return array;
    }
    case toml::node_type::table: {
      Json object = Json::object();
      for (const auto& [key, element] : *node.as_table()) object[std::string(key.str())] = value_of(element, origin);
      return object;
    }
    default:
      fail(origin, node.source().begin, "dates and times are not expected here; put the value in quotes");
  }
}

void collect(const toml::table& table, const std::string& prefix, std::string_view origin,
             std::vector<TomlEntry>& entries) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table()) {
      collect(*inner, name + ".", origin, entries);
      continue;
    }
    const toml::source_position position = node.source().begin;
    entries.push_back(
        {name, value_of(node, origin), static_cast<int>(position.line), static_cast<int>(position.column)});
  }
}

}  // namespace

std::vector<TomlEntry> parse_toml(std::string_view text, std::string_view origin) {
  if (text.size() > kMaximumBytes)
    throw Error("{}: {} bytes are too many for a TOML file; at most {} are read", origin, text.size(), kMaximumBytes);
  check_depth(text, origin);
  std::vector<TomlEntry> entries;
  try {
    const toml::table root = toml::parse(text);
    collect(root, "", origin, entries);
  } catch (const toml::parse_error& error) {
    fail(origin, error.source().begin, error.description());
  }
  const auto position = [](const TomlEntry& entry) { return std::pair(entry.line, entry.column); };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const TomlEntry& a, const TomlEntry& b) { return position(a) < position(b); });
  return entries;
}

std::vector<TomlEntry> read_toml(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_toml(file.text(), path.string());
}

Json parse_toml_value(std::string_view text, std::string_view origin) {
  // A line feed would let the text add keys of its own.
  if (text.find_first_of("\r\n") == std::string_view::npos) {
    try {
      const auto entries = parse_toml(fmt::format("value = {}", text), origin);
      if (entries.size() == 1 && entries[0].key == "value") return entries[0].value;
    } catch (const Error&) {
      // One sentence for every fault, below.
    }
  }
  throw Error("{}: \"{}\" is not a TOML value", origin, text);
}

std::string toml_quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\u{:04x}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

bool is_valid_utf8(std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    const auto first = static_cast<unsigned char>(text[position]);
    const size_t length = first < 0x80   ? 1
                          : first < 0xC2 ? 0
                          : first < 0xE0 ? 2
                          : first < 0xF0 ? 3
                          : first < 0xF5 ? 4
                                         : 0;
    if (length == 0 || position + length > text.size()) return false;
    uint32_t code = length == 1 ? first : first & (0x7Fu >> length);
    for (size_t offset = 1; offset < length; ++offset) {
      const auto next = static_cast<unsigned char>(text[position + offset]);
      if ((next & 0xC0) != 0x80) return false;
      code = code << 6 | (next & 0x3Fu);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    position += length;
  }
  return true;
}

}  // namespace fledge::base
