#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "serve/api_error.h"

namespace fledge::serve {

/// The JSON object in a request's body. Throws ApiError 400 where it is none.
base::OrderedJson parse_body(const std::string& body);

/// Reads the fields of an object that came from a client, each checked, and remembers which were asked for. A field
/// that is null counts as absent. All methods throw ApiError 400 naming the field, what it holds and what is expected.
class JsonFields {
 public:
  /// `path` goes before the names in errors ("tools[0].function."). Keeps a reference to `object`.
  explicit JsonFields(const base::OrderedJson& object, std::string path = {});

  bool has(const char* key) { return find(key) != nullptr; }
  /// The value as it is, or nothing.
  const base::OrderedJson* find(const char* key);
  const base::OrderedJson& require(const char* key);
  std::optional<bool> boolean(const char* key);
  std::optional<std::string> text(const char* key);
  /// A whole number; 3.0 is one.
  std::optional<int64_t> integer(const char* key, int64_t least, int64_t most);
  std::optional<double> number(const char* key, double least, double most);
  std::string required_text(const char* key);

  /// Fields that nobody asked for.
  std::vector<std::string> unknown() const;
  /// Marks fields as known without reading them.
  void ignore(std::initializer_list<const char*> keys);

  [[noreturn]] void fail(const char* key, const std::string& expected) const;

 private:
  const base::OrderedJson& object_;
  std::string path_;
  std::set<std::string> known_;
};

/// Shortened text of a value, for errors.
std::string shown(const base::OrderedJson& value);

}  // namespace fledge::serve
