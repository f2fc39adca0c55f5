#include "base/json.h"

#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace fledge::base {
namespace {

constexpr int kMaximumDepth = 512;

void check_depth(std::string_view text, std::string_view origin) {
  int depth = 0;
  bool in_string = false;
  for (size_t position = 0; position < text.size(); ++position) {
    const char c = text[position];
    if (in_string) {
      if (c == '\\') {
        ++position;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaximumDepth) throw Error("{}: JSON nested deeper than {} levels", origin, kMaximumDepth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

template <typename Type>
Type parse(std::string_view text, std::string_view origin) {
  check_depth(text, origin);
  try {
    return Type::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    throw Error("{}: not valid JSON at byte {}", origin, error.byte);
  } catch (const nlohmann::json::exception& error) {
    throw Error("{}: not valid JSON ({})", origin, error.what());
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view origin) {
  return parse<Json>(text, origin);
}

OrderedJson parse_ordered_json(std::string_view text, std::string_view origin) {
  return parse<OrderedJson>(text, origin);
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

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

template bool json_get(const Json&, const char*, bool, std::string_view);
template int32_t json_get(const Json&, const char*, int32_t, std::string_view);
template int64_t json_get(const Json&, const char*, int64_t, std::string_view);
template uint32_t json_get(const Json&, const char*, uint32_t, std::string_view);
template uint64_t json_get(const Json&, const char*, uint64_t, std::string_view);
template double json_get(const Json&, const char*, double, std::string_view);
template std::string json_get(const Json&, const char*, std::string, std::string_view);

template bool json_require(const Json&, const char*, std::string_view);
template int32_t json_require(const Json&, const char*, std::string_view);
template int64_t json_require(const Json&, const char*, std::string_view);
template uint32_t json_require(const Json&, const char*, std::string_view);
template uint64_t json_require(const Json&, const char*, std::string_view);
template double json_require(const Json&, const char*, std::string_view);
template std::string json_require(const Json&, const char*, std::string_view);
template Json json_require(const Json&, const char*, std::string_view);
template std::vector<std::string> json_require(const Json&, const char*, std::string_view);
template std::vector<int32_t> json_require(const Json&, const char*, std::string_view);

}  // namespace fledge::base
