#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace fledge::base {

/// One `key = value` of a TOML document.
struct TomlEntry {
  std::string key;  ///< dotted path from the root: "optimizer.learning_rate"
  Json value;       ///< boolean, integer, floating point, string or array (tables inside arrays are objects)
  int line = 0;     ///< where the value stands, from 1
  int column = 0;
};

/// Parses TOML that came from outside and lists its entries in the order of the document. `origin` names it in errors
/// (a path, usually). Throws Error "origin:line:column: ..." where it is not valid TOML, holds a date or time, is
/// larger than 1 MiB or nests deeper than 16 levels.
std::vector<TomlEntry> parse_toml(std::string_view text, std::string_view origin);
std::vector<TomlEntry> read_toml(const std::filesystem::path& path);

/// `text` as a TOML value. Throws Error where it is none.
Json parse_toml_value(std::string_view text, std::string_view origin);

/// `text` as a TOML basic string with its quotes. It must be valid UTF-8.
std::string toml_quoted(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace fledge::base
