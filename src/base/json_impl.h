#pragma once
// Templates of base/json.h.

#include "base/error.h"

namespace fledge::base {

template <typename T>
T json_require(const Json& object, const char* key, std::string_view origin) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end()) throw Error("{}: the key \"{}\" is missing", origin, key);
  bool fits = true;
  if constexpr (std::is_same_v<T, bool>) {
    fits = found->is_boolean();
  } else if constexpr (std::is_integral_v<T>) {
    fits = found->is_number_integer();
    if constexpr (std::is_unsigned_v<T>)
      fits = fits && (found->is_number_unsigned() || found->template get<int64_t>() >= 0);
  } else if constexpr (std::is_floating_point_v<T>) {
    fits = found->is_number();
  } else if constexpr (std::is_same_v<T, std::string>) {
    fits = found->is_string();
  }
  try {
    if (fits) return found->template get<T>();
  } catch (const nlohmann::json::exception&) {
    // Falls through to the sentence below, which names the key.
  }
  throw Error("{}: the key \"{}\" holds {}, which is not of the expected type", origin, key,
              found->dump().substr(0, 60));
}

template <typename T>
T json_get(const Json& object, const char* key, T fallback, std::string_view origin) {
  if (!object.is_object()) throw Error("{}: a JSON object was expected", origin);
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  return json_require<T>(object, key, origin);
}

template <typename Range>
std::string nearest(std::string_view word, const Range& candidates) {
  std::string best;
  size_t best_distance = word.size() / 2 + 2;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace fledge::base
