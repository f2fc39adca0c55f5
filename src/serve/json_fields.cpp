#include "serve/json_fields.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace fledge::serve {
namespace {

/// Finding a key of an ordered object means looking at those before it, so that parsing an object of n keys costs n^2
/// comparisons: this adds them up beforehand.
class KeyCost : public nlohmann::json_sax<base::OrderedJson> {
 public:
  static constexpr uint64_t kMost = 30'000'000;

  bool start_object(size_t) override {
    keys_.push_back(0);
    return true;
  }
  bool key(string_t&) override {
    cost_ += ++keys_.back();
    return cost_ < kMost;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  bool too_high() const { return cost_ >= kMost; }

 private:
  std::vector<uint64_t> keys_;
  uint64_t cost_ = 0;
};

}  // namespace

base::OrderedJson parse_body(const std::string& body) {
  KeyCost cost;
  base::OrderedJson::sax_parse(body, &cost);
  if (cost.too_high()) throw ApiError(400, "the request's body has objects with too many keys");
  base::OrderedJson value;
  try {
    value = base::parse_ordered_json(body, "the request's body");
  } catch (const base::Error& error) {
    throw ApiError(400, error.what());
  }
  if (!value.is_object()) throw ApiError(400, "the request's body is not a JSON object");
  return value;
}

std::string shown(const base::OrderedJson& value) {
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return "an object";
  std::string text = value.dump(-1, ' ', true, base::OrderedJson::error_handler_t::replace);
  if (text.size() > 60) text.replace(60, text.npos, "...");
  return text;
}

JsonFields::JsonFields(const base::OrderedJson& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    const std::string name = path_.empty() ? "the request's body" : path_.substr(0, path_.size() - 1);
    throw ApiError(400, fmt::format("{} is {}, expected an object", name, shown(object)), name);
  }
}

void JsonFields::fail(const char* key, const std::string& expected) const {
  const auto found = object_.find(key);
  const std::string value = found == object_.end() ? "missing" : shown(*found);
  throw ApiError(400, fmt::format("{}{} is {}, expected {}", path_, key, value, expected), path_ + key);
}

const base::OrderedJson* JsonFields::find(const char* key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const base::OrderedJson& JsonFields::require(const char* key) {
  const base::OrderedJson* value = find(key);
  if (value == nullptr) {
    throw ApiError(400, fmt::format("the field {}{} is missing", path_, key), path_ + key,
                   "missing_required_parameter");
  }
  return *value;
}

std::optional<bool> JsonFields::boolean(const char* key) {
  const base::OrderedJson* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) fail(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::text(const char* key) {
  const base::OrderedJson* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) fail(key, "a string");
  return value->get<std::string>();
}

std::string JsonFields::required_text(const char* key) {
  require(key);
  return *text(key);
}

std::optional<int64_t> JsonFields::integer(const char* key, int64_t least, int64_t most) {
  const base::OrderedJson* value = find(key);
  if (value == nullptr) return {};
  const auto expected = [&] { return fmt::format("a whole number from {} to {}", least, most); };
  int64_t result = 0;
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) fail(key, expected());
  if (value->is_number_integer()) {
    result = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double wide = value->get<double>();
    if (!(std::abs(wide) < 9e15) || wide != std::floor(wide)) fail(key, expected());
    result = static_cast<int64_t>(wide);
  } else {
    fail(key, expected());
  }
  if (result < least || result > most) fail(key, expected());
  return result;
}

std::optional<double> JsonFields::number(const char* key, double least, double most) {
  const base::OrderedJson* value = find(key);
  if (value == nullptr) return {};
  const auto expected = [&] { return fmt::format("a number from {} to {}", least, most); };
  if (!value->is_number()) fail(key, expected());
  const double result = value->get<double>();
  if (!(result >= least && result <= most)) fail(key, expected());
  return result;
}

std::vector<std::string> JsonFields::unknown() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : object_.items()) {
    if (!known_.contains(key)) names.push_back(path_ + key);
  }
  return names;
}

void JsonFields::ignore(std::initializer_list<const char*> keys) {
  known_.insert(keys.begin(), keys.end());
}

}  // namespace fledge::serve
