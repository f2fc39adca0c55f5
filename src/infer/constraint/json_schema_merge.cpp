#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "infer/constraint/json_schema.h"

namespace fledge::infer {
namespace {

using Json = base::OrderedJson;

Json both(const Json& first, const Json& second) {
  if (first == second) return first;
  return Json{{"allOf", Json::array({first, second})}};
}

Json as_list(const Json& value) {
  return value.is_array() ? value : Json::array({value});
}

bool contains(const Json& list, const Json& value) {
  return std::ranges::find(list, value) != list.end();
}

Json merged_types(const Json& first, const Json& second) {
  Json result = Json::array();
  const Json a = as_list(first), b = as_list(second);
  for (const Json& type : a) {
    if (contains(b, type) || (type == "integer" && contains(b, "number"))) {
      result.push_back(type);
    } else if (type == "number" && contains(b, "integer")) {
      result.push_back("integer");
    }
  }
  return result;
}

Json intersection(const Json& first, const Json& second) {
  Json result = Json::array();
  for (const Json& value : first) {
    if (contains(second, value)) result.push_back(value);
  }
  return result;
}

Json united(Json first, const Json& second) {
  for (const Json& value : second) {
    if (!contains(first, value)) first.push_back(value);
  }
  return first;
}

Json merged_properties(const Json& first, const Json& second) {
  Json result = first;
  for (const auto& [name, schema] : second.items()) {
    result[name] = result.contains(name) ? both(result[name], schema) : schema;
  }
  return result;
}

Json merged_value(const std::string& keyword, const Json& first, const Json& second) {
  if (first == second) return first;
  const bool lists = first.is_array() && second.is_array();
  if (keyword == "type") return merged_types(first, second);
  if (keyword == "enum" && lists) return intersection(first, second);
  if (keyword == "required" && lists) return united(first, second);
  if (keyword == "properties" && first.is_object() && second.is_object()) return merged_properties(first, second);
  if (keyword == "items") return both(first, second);
  if (first.is_number() && second.is_number()) {
    constexpr std::array<std::string_view, 4> kLower = {"minimum", "exclusiveMinimum", "minLength", "minItems"};
    constexpr std::array<std::string_view, 4> kUpper = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"};
    if (std::ranges::find(kLower, keyword) != kLower.end()) return std::max(first, second);
    if (std::ranges::find(kUpper, keyword) != kUpper.end()) return std::min(first, second);
  }
  throw base::UsageError("JSON Schema: two different values of '{}' that must both hold cannot be merged", keyword);
}

/// additionalProperties speaks of the names that its own schema lacks: after merging, it would speak of fewer.
void check_additional(const Json& closed, const Json& other) {
  const auto additional = closed.find("additionalProperties");
  if (additional == closed.end() || *additional == true || !other.contains("properties")) return;
  for (const auto& [name, schema] : other["properties"].items()) {
    if (!closed.contains("properties") || !closed["properties"].contains(name)) {
      throw base::UsageError(
          "JSON Schema: '{}' is in one part of an allOf and ruled out by additionalProperties of another", name);
    }
  }
}

}  // namespace

bool is_annotation(std::string_view keyword) {
  constexpr std::array<std::string_view, 17> kAnnotations = {
      "title", "description", "default",  "examples",        "example",         "$schema",
      "$id",   "id",          "$comment", "readOnly",        "writeOnly",       "deprecated",
      "$defs", "definitions", "strict",   "contentEncoding", "contentMediaType"};
  return std::ranges::find(kAnnotations, keyword) != kAnnotations.end();
}

base::OrderedJson merge_schemas(const base::OrderedJson& first, const base::OrderedJson& second) {
  if (first == true) return second;
  if (second == true) return first;
  if (first == false || second == false) return false;
  if (!first.is_object() || !second.is_object()) throw base::UsageError("JSON Schema: a schema is an object or a bool");
  check_additional(first, second);
  check_additional(second, first);
  // An item beyond one part's prefix is under that part's own `items`.
  if ((first.contains("prefixItems") || second.contains("prefixItems")) &&
      (first.contains("items") || second.contains("items"))) {
    throw base::UsageError("JSON Schema: prefixItems and items of different parts of an allOf cannot be merged");
  }
  Json result = Json::object();
  Json all = Json::array();
  for (const Json* schema : {&first, &second}) {
    for (const auto& [keyword, value] : schema->items()) {
      if (is_annotation(keyword)) continue;
      if (keyword == "nullable" && !(first.contains(keyword) && second.contains(keyword))) continue;
      const bool several = keyword == "allOf" || keyword == "anyOf" || keyword == "oneOf" || keyword == "$ref";
      if (several && (result.contains(keyword) || keyword == "allOf")) {
        all.push_back(Json{{keyword, value}});
      } else if (result.contains(keyword)) {
        result[keyword] = merged_value(keyword, result[keyword], value);
      } else {
        result[keyword] = value;
      }
    }
  }
  for (const Json& part : all) {
    if (part.contains("allOf") && part["allOf"].is_array()) {
      for (const Json& one : part["allOf"]) result["allOf"].push_back(one);
    } else {
      result["allOf"].push_back(part);
    }
  }
  return result;
}

}  // namespace fledge::infer
