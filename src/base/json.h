#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_fwd.h"

namespace fledge::base {

/// Parses JSON that came from outside. `origin` names it in errors (a path, usually). Throws Error with the position of
/// the fault; nesting deeper than 512 levels is refused, because a destructor would run out of stack.
Json parse_json(std::string_view text, std::string_view origin);
OrderedJson parse_ordered_json(std::string_view text, std::string_view origin);
Json read_json(const std::filesystem::path& path);

/// The value under `key` as type T, or `fallback` where the key is absent or null. Throws Error naming the origin and
/// the key where the type is wrong. `T` is one of the types at the end of json.cpp.
template <typename T>
T json_get(const Json& object, const char* key, T fallback, std::string_view origin);

/// The same for a key that must be there.
template <typename T>
T json_require(const Json& object, const char* key, std::string_view origin);

}  // namespace fledge::base

// Compiled once, in json_instances.cpp, instead of in every file that uses them.
extern template class nlohmann::basic_json<>;
extern template class nlohmann::basic_json<nlohmann::ordered_map>;
extern template class nlohmann::detail::serializer<nlohmann::json>;
extern template class nlohmann::detail::serializer<nlohmann::ordered_json>;
