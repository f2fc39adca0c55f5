#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fledge::base {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

/// Parses JSON that came from outside. `origin` names it in errors (a path, usually). Throws Error with the position of
/// the fault; nesting deeper than 512 levels is refused, because a destructor would run out of stack.
Json parse_json(std::string_view text, std::string_view origin);
OrderedJson parse_ordered_json(std::string_view text, std::string_view origin);
Json read_json(const std::filesystem::path& path);

/// The value under `key` as type T, or `fallback` where the key is absent or null. Throws Error naming the origin and
/// the key where the type is wrong.
template <typename T>
T json_get(const Json& object, const char* key, T fallback, std::string_view origin);

/// The same for a key that must be there.
template <typename T>
T json_require(const Json& object, const char* key, std::string_view origin);

/// "Did you mean": the candidate nearest to `word` by edit distance, or empty where none is near.
template <typename Range>
std::string nearest(std::string_view word, const Range& candidates);

/// Levenshtein distance in bytes.
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace fledge::base

#include "base/json_impl.h"
