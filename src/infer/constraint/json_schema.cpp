#include "infer/constraint/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "infer/constraint/json_object.h"
#include "infer/constraint/json_text.h"
#include "infer/constraint/regex.h"

namespace fledge::infer {
namespace {

using Json = base::OrderedJson;

constexpr int kMostDepth = 150;
constexpr size_t kMostRules = 20000;
constexpr size_t kMostWork = 32 << 20;  ///< bytes of all the schemas that were looked at
constexpr size_t kMostPrefix = 500;

template <typename... Arguments>
[[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw base::UsageError("JSON Schema: {}", fmt::format(format, std::forward<Arguments>(arguments)...));
}

constexpr std::array<std::string_view, 25> kKeywords = {"$ref",
                                                        "allOf",
                                                        "anyOf",
                                                        "oneOf",
                                                        "nullable",
                                                        "const",
                                                        "enum",
                                                        "type",
                                                        "properties",
                                                        "required",
                                                        "items",
                                                        "minItems",
                                                        "maxItems",
                                                        "minLength",
                                                        "maxLength",
                                                        "pattern",
                                                        "format",
                                                        "minimum",
                                                        "maximum",
                                                        "exclusiveMinimum",
                                                        "exclusiveMaximum",
                                                        "additionalProperties",
                                                        "prefixItems",
                                                        "uniqueItems",
                                                        "not"};

void check_keywords(const Json& schema) {
  for (const auto& [keyword, value] : schema.items()) {
    if (is_annotation(keyword)) continue;
    const bool known = std::ranges::find(kKeywords, keyword) != kKeywords.end();
    if (!known || keyword == "not" || (keyword == "uniqueItems" && value != false)) {
      refuse("the keyword '{}' is not supported", keyword);
    }
  }
}

Json without(const Json& schema, std::string_view left_out) {
  Json result = Json::object();
  for (const auto& [keyword, value] : schema.items()) {
    if (keyword != left_out && !is_annotation(keyword)) result[keyword] = value;
  }
  return result;
}

/// A whole number of at least 0, or `fallback`.
int64_t count_of(const Json& schema, const char* keyword, int64_t fallback) {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return fallback;
  const bool whole = found->is_number_integer() ||
                     (found->is_number_float() && found->get<double>() == std::floor(found->get<double>()));
  if (!whole || found->get<double>() < 0) refuse("'{}' must be a whole number of at least 0", keyword);
  if (found->get<double>() > static_cast<double>(kMostRepeats)) {
    refuse("'{}' is above the limit of {}", keyword, kMostRepeats);
  }
  return static_cast<int64_t>(found->get<double>());
}

std::string_view format_pattern(const std::string& format) {
  // Days as the calendar has them, for the years 1000 to 2999.
#define FLEDGE_DATE                                                                                                \
  "(?:[12]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|" \
  "1\\d|2[0-8]))|(?:[12]\\d(?:0[48]|[2468][048]|[13579][26])|(?:1[26]|2[048])00)-02-29)"
#define FLEDGE_TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define FLEDGE_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define FLEDGE_BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
  static const std::map<std::string, std::string_view> kPatterns = {
      {"date", FLEDGE_DATE},
      {"time", FLEDGE_TIME},
      {"date-time", FLEDGE_DATE "T" FLEDGE_TIME},
      {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
      {"email", "[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@" FLEDGE_LABEL "(?:\\." FLEDGE_LABEL ")+"},
      {"hostname", FLEDGE_LABEL "(?:\\." FLEDGE_LABEL "){0,3}"},
      {"ipv4", FLEDGE_BYTE "(?:\\." FLEDGE_BYTE "){3}"},
  };
#undef FLEDGE_DATE
#undef FLEDGE_TIME
#undef FLEDGE_LABEL
#undef FLEDGE_BYTE
  const auto found = kPatterns.find(format);
  if (found == kPatterns.end()) {
    refuse("the format '{}' is not supported; date, time, date-time, uuid, email, hostname and ipv4 are", format);
  }
  return found->second;
}

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
  }
  if (type == "number") return value.is_number();
  return type == (value.is_number() ? "number" : value.type_name());
}

class Compiler {
 public:
  explicit Compiler(const Json& root) : root_(root), text_(grammar_) {}

  Grammar compile() {
    grammar_.root = value(root_, 0);
    return std::move(grammar_);
  }

 private:
  /// A rule for the schema; equal schemas share one, which is also what ends recursion.
  GrammarPointer value(const Json& schema, int depth) {
    if (depth > kMostDepth) refuse("schemas nested deeper than {} levels", kMostDepth);
    std::string key = schema.dump();
    work_ += key.size();
    if (work_ > kMostWork || rules_.size() >= kMostRules) refuse("the schema is too large");
    const auto known = rules_.find(key);
    if (known != rules_.end()) return call_node(known->second);
    auto rule = std::make_shared<GrammarRule>();
    grammar_.rules.push_back(rule);
    rules_.emplace(std::move(key), rule.get());
    rule->body = body(schema, depth + 1);
    return call_node(rule.get());
  }

  GrammarPointer body(const Json& schema, int depth) {
    if (schema.is_boolean()) return schema.get<bool>() ? text_.value() : choice_node({});
    if (!schema.is_object()) refuse("a schema is an object or a bool, not {}", schema.type_name());
    check_keywords(schema);
    if (schema.contains("nullable")) {
      GrammarPointer rest = value(without(schema, "nullable"), depth);
      return schema["nullable"] == true ? choice_node({rest, literal_node("null")}) : rest;
    }
    if (schema.contains("$ref")) return reference(schema, depth);
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return any_of(schema, keyword, depth);
    }
    if (schema.contains("allOf")) {
      Json merged = without(schema, "allOf");
      for (const Json& part : list(schema, "allOf")) merged = merge_schemas(merged, part);
      return value(merged, depth);
    }
    if (schema.contains("const") || schema.contains("enum")) return literals(schema);
    std::vector<GrammarPointer> parts;
    for (const std::string& type : types(schema)) parts.push_back(typed(schema, type, depth));
    return choice_node(std::move(parts));
  }

  static const Json& list(const Json& schema, const char* keyword) {
    const Json& parts = schema[keyword];
    if (!parts.is_array() || parts.empty()) refuse("'{}' must be a list that is not empty", keyword);
    return parts;
  }

  GrammarPointer reference(const Json& schema, int depth) {
    const Json& reference = schema["$ref"];
    const std::string path = reference.is_string() ? reference.get<std::string>() : "";
    if (path != "#" && !path.starts_with("#/")) {
      refuse("$ref {} is not supported: only references within the schema, such as \"#/$defs/name\", are",
             reference.dump());
    }
    const Json* target = &root_;
    try {
      target = &root_.at(Json::json_pointer(path.substr(1)));
    } catch (const Json::exception&) {
      refuse("$ref \"{}\" leads nowhere", path);
    }
    const Json rest = without(schema, "$ref");
    return value(rest.empty() ? *target : merge_schemas(rest, *target), depth);
  }

  /// Of oneOf too: which texts match more than one part is not looked at.
  GrammarPointer any_of(const Json& schema, const char* keyword, int depth) {
    const Json rest = without(schema, keyword);
    std::vector<GrammarPointer> parts;
    for (const Json& part : list(schema, keyword)) {
      parts.push_back(value(rest.empty() ? part : merge_schemas(rest, part), depth));
    }
    return choice_node(std::move(parts));
  }

  GrammarPointer literals(const Json& schema) {
    for (const auto& [keyword, value] : schema.items()) {
      if (keyword != "const" && keyword != "enum" && keyword != "type" && !is_annotation(keyword)) {
        refuse("'{}' beside const or enum is not supported", keyword);
      }
    }
    const Json values = schema.contains("enum") ? list(schema, "enum") : Json::array({schema["const"]});
    const std::vector<std::string> wanted = schema.contains("type") ? types(schema) : std::vector<std::string>{};
    std::vector<GrammarPointer> parts;
    for (const Json& value : values) {
      if (schema.contains("const") && value != schema["const"]) continue;
      const auto fits = [&](const std::string& type) { return is_of_type(value, type); };
      if (!wanted.empty() && std::ranges::none_of(wanted, fits)) continue;
      parts.push_back(literal_node(value.dump()));
    }
    return choice_node(std::move(parts));
  }

  static std::vector<std::string> types(const Json& schema) {
    static const std::vector<std::string> kAll = {"object", "array", "string", "number", "boolean", "null"};
    std::vector<std::string> result;
    if (schema.contains("type")) {
      const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
      for (const Json& type : types) {
        const std::string name = type.is_string() ? type.get<std::string>() : "";
        if (name != "integer" && std::ranges::find(kAll, name) == kAll.end()) {
          refuse("the type {} is unknown", type.dump());
        }
        result.push_back(name);
      }
      return result;
    }
    static const std::vector<std::pair<const char*, const char*>> kAbout = {
        {"properties", "object"}, {"required", "object"},         {"additionalProperties", "object"},
        {"items", "array"},       {"prefixItems", "array"},       {"minItems", "array"},
        {"maxItems", "array"},    {"minLength", "string"},        {"maxLength", "string"},
        {"pattern", "string"},    {"format", "string"},           {"minimum", "number"},
        {"maximum", "number"},    {"exclusiveMinimum", "number"}, {"exclusiveMaximum", "number"},
        {"uniqueItems", "array"}};
    for (const auto& [keyword, type] : kAbout) {
      if (schema.contains(keyword) && std::ranges::find(result, std::string_view(type)) == result.end())
        result.emplace_back(type);
    }
    return result.size() == 1 ? result : kAll;
  }

  GrammarPointer typed(const Json& schema, const std::string& type, int depth) {
    if (type == "null") return literal_node("null");
    if (type == "boolean") return choice_node({literal_node("true"), literal_node("false")});
    if (type == "string") return string(schema);
    if (type == "array") return array(schema, depth);
    if (type == "object") return object(schema, depth);
    return number(schema, type == "integer");
  }

  GrammarPointer string(const Json& schema) {
    const bool lengths = schema.contains("minLength") || schema.contains("maxLength");
    const bool pattern = schema.contains("pattern"), format = schema.contains("format");
    if (pattern + format + lengths > 1) refuse("only one of pattern, format and lengths of a string is supported");
    if (!pattern && !format) {
      const int64_t least = count_of(schema, "minLength", 0), most = count_of(schema, "maxLength", -1);
      if (most >= 0 && most < least) refuse("maxLength is below minLength");
      return text_.string(least, most);
    }
    const Json& value = schema[pattern ? "pattern" : "format"];
    if (!value.is_string()) refuse("pattern and format must be strings");
    const auto expression = pattern ? value.get<std::string>() : fmt::format("^(?:{})$", format_pattern(value));
    const Grammar inside = parse_regex(expression, RegexText::json_string);
    grammar_.rules.insert(grammar_.rules.end(), inside.rules.begin(), inside.rules.end());
    return sequence_node({literal_node("\""), inside.root, literal_node("\"")});
  }

  /// The tighter of an inclusive and an exclusive bound, as a whole number.
  static std::optional<int64_t> bound(const Json& schema, bool lower, bool integer, bool& included) {
    std::optional<int64_t> result;
    const char* const keywords[] = {lower ? "minimum" : "maximum", lower ? "exclusiveMinimum" : "exclusiveMaximum"};
    for (const char* keyword : keywords) {
      const auto found = schema.find(keyword);
      if (found == schema.end()) continue;
      if (!found->is_number()) refuse("'{}' must be a number", keyword);
      bool closed = keyword == keywords[0];
      const double value = found->get<double>();
      const bool whole = found->is_number_integer() || value == std::floor(value);
      if (!whole && !integer) refuse("'{}' of a number must be whole; {} is not", keyword, value);
      if (!(std::abs(value) < 9e18)) refuse("'{}' is too large", keyword);
      int64_t limit = found->is_number_integer() ? found->get<int64_t>()
                                                 : static_cast<int64_t>(lower ? std::ceil(value) : std::floor(value));
      if (!whole) closed = true;
      if (integer && !closed) {
        limit += lower ? 1 : -1;
        closed = true;
      }
      const bool tighter = !result || (lower ? limit > *result : limit < *result);
      if (tighter || limit == *result) included = closed && (tighter || included);
      if (tighter) result = limit;
    }
    return result;
  }

  GrammarPointer number(const Json& schema, bool integer) const {
    NumberBounds bounds;
    bounds.lower = bound(schema, true, integer, bounds.lower_included);
    bounds.upper = bound(schema, false, integer, bounds.upper_included);
    if (bounds.lower && bounds.upper && *bounds.lower > *bounds.upper) return choice_node({});
    if (integer) return integer_node(bounds);
    return bounds.lower || bounds.upper ? bounded_number_node(bounds) : text_.number();
  }

  GrammarPointer array(const Json& schema, int depth) {
    const int64_t least = count_of(schema, "minItems", 0);
    int64_t most = count_of(schema, "maxItems", -1);
    if (most >= 0 && most < least) refuse("maxItems is below minItems");
    std::vector<GrammarPointer> prefix;
    if (schema.contains("prefixItems")) {
      for (const Json& item : list(schema, "prefixItems")) prefix.push_back(value(item, depth));
      if (prefix.size() > kMostPrefix) refuse("prefixItems has more than {} items", kMostPrefix);
    }
    const Json items = schema.contains("items") ? schema["items"] : Json(true);
    auto fixed = static_cast<int64_t>(prefix.size());
    if (items == false) most = most < 0 ? fixed : std::min(most, fixed);
    if (most >= 0 && fixed > most) {
      fixed = most;
      prefix.resize(static_cast<size_t>(most));
    }
    if (most == 0) return least == 0 ? literal_node("[]") : choice_node({});
    if (most >= 0 && least > most) refuse("minItems asks for more items than prefixItems and items allow");
    const GrammarPointer item = fixed == most ? nullptr : value(items, depth);
    return array_of(text_, prefix, item, least, most);
  }

  GrammarPointer object(const Json& schema, int depth) {
    static const Json kNone = Json::object(), kNoNames = Json::array();
    const Json& properties = schema.contains("properties") ? schema["properties"] : kNone;
    const Json& required = schema.contains("required") ? schema["required"] : kNoNames;
    if (!properties.is_object()) refuse("'properties' must be an object");
    if (!required.is_array()) refuse("'required' must be a list");
    std::set<std::string> needed;
    for (const Json& name : required) {
      if (!name.is_string()) refuse("'required' must be a list of names");
      needed.insert(name.get<std::string>());
    }
    const bool says = schema.contains("additionalProperties");
    const Json additional = says ? schema["additionalProperties"] : Json(true);
    ObjectParts parts;
    for (const auto& [name, property] : properties.items()) {
      const bool is_needed = needed.erase(name) > 0;
      if (property == false && !is_needed) {
        parts.excluded.push_back(name);
        continue;
      }
      parts.members.push_back({name, value(property, depth), is_needed});
    }
    for (const Json& name : required) {
      if (needed.erase(name.get<std::string>()) > 0) {
        parts.members.push_back({name.get<std::string>(), value(additional, depth), true});
      }
    }
    if (additional != false && (says || properties.empty())) parts.additional = value(additional, depth);
    return object_of(text_, parts);
  }

  const Json& root_;
  Grammar grammar_;
  JsonText text_;
  std::map<std::string, const GrammarRule*> rules_;
  size_t work_ = 0;
};

}  // namespace

Grammar compile_json_schema(const base::OrderedJson& schema) {
  return Compiler(schema).compile();
}

Grammar json_object_grammar() {
  Grammar grammar;
  grammar.root = JsonText(grammar).object();
  return grammar;
}

}  // namespace fledge::infer
