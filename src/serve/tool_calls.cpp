#include "serve/tool_calls.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "serve/api_error.h"

namespace fledge::serve {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kList = "[TOOL_CALLS]", kArguments = "[ARGS]";
constexpr std::string_view kPython = "<|python_tag|>";
constexpr std::string_view kSpace = " \t\r\n";

/// Bytes at the end of `text` that may be the beginning of `marker`.
size_t begun(std::string_view text, std::string_view marker) {
  for (size_t size = std::min(text.size(), marker.size() - 1); size > 0; --size) {
    if (text.ends_with(marker.substr(0, size))) return size;
  }
  return 0;
}

/// Where the JSON value that `text` begins with ends, by its brackets; 0 where it does not.
size_t end_of_json(std::string_view text) {
  if (text.empty() || (text[0] != '{' && text[0] != '[')) return 0;
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (--depth == 0) return i + 1;
    }
  }
  return 0;
}

std::optional<base::OrderedJson> parse(std::string_view text) {
  try {
    return base::parse_ordered_json(text, "call");
  } catch (const base::Error&) {
    return {};
  }
}

std::string arguments_text(const base::OrderedJson& arguments) {
  // Some models write the arguments as a string of JSON, as the API has them.
  if (arguments.is_string()) return arguments.get<std::string>();
  return to_text(arguments);
}

std::optional<ToolCall> call_of(const base::OrderedJson& value) {
  if (!value.is_object()) return {};
  const auto name = value.find("name");
  if (name == value.end() || !name->is_string()) return {};
  for (const char* key : {"arguments", "parameters"}) {
    const auto arguments = value.find(key);
    if (arguments == value.end()) continue;
    if (!arguments->is_object() && !arguments->is_string()) return {};
    return ToolCall{name->get<std::string>(), arguments_text(*arguments)};
  }
  return ToolCall{name->get<std::string>(), "{}"};
}

}  // namespace

ToolConvention convention_of(std::string_view template_source) {
  if (template_source.find(kList) != std::string_view::npos) return ToolConvention::mistral;
  if (template_source.find(kOpen) != std::string_view::npos) return ToolConvention::hermes;
  if (template_source.find("\"parameters\"") != std::string_view::npos) return ToolConvention::llama;
  return ToolConvention::hermes;
}

std::string ToolCallParser::push(std::string_view text) {
  buffer_ += text;
  std::string out;
  while (step(out)) {
  }
  return out;
}

/// Goes on where more is certain; false where more text is needed.
bool ToolCallParser::step(std::string& out) {
  switch (state_) {
    case State::text:
      return read_text(out);
    case State::tagged:
      return read_tagged(out);
    default:
      return false;  // until the end
  }
}

bool ToolCallParser::read_text(std::string& out) {
  if (!began_) {
    const size_t first = buffer_.find_first_not_of(kSpace);
    if (first == std::string::npos) return false;
    if (buffer_[first] == '{') {
      state_ = State::bare_json;
      marker_.clear();
      return false;
    }
  }
  size_t found = std::string::npos, held = 0;
  std::string_view marker;
  for (const std::string_view candidate : {kOpen, kList, kPython}) {
    const size_t place = buffer_.find(candidate);
    if (place < found) found = place, marker = candidate;
    held = std::max(held, begun(buffer_, candidate));
  }
  if (found == std::string::npos) {
    // White space before a call is no part of the answer either.
    size_t certain = buffer_.size() - held;
    const size_t last = std::string_view(buffer_).substr(0, certain).find_last_not_of(kSpace);
    certain = last == std::string::npos ? 0 : last + 1;
    if (certain > 0) began_ = true;
    out += buffer_.substr(0, certain);
    buffer_.erase(0, certain);
    return false;
  }
  const std::string_view before = std::string_view(buffer_).substr(0, found);
  if (!base::trimmed(before).empty()) out += before.substr(0, before.find_last_not_of(kSpace) + 1);
  began_ = true;
  marker_ = marker;
  state_ = marker == kOpen ? State::tagged : marker == kList ? State::listed : State::bare_json;
  buffer_.erase(0, found + marker.size());
  return true;
}

bool ToolCallParser::read_tagged(std::string& out) {
  const size_t end = buffer_.find(kClose);
  if (end == std::string::npos) return false;
  if (!add_call(std::string_view(buffer_).substr(0, end), false)) {
    out += marker_ + buffer_.substr(0, end) + std::string(kClose);
  }
  buffer_.erase(0, end + kClose.size());
  state_ = State::text;
  return true;
}

std::string ToolCallParser::finish() {
  std::string rest;
  const bool found = state_ == State::tagged      ? add_call(buffer_, false)
                     : state_ == State::bare_json ? add_bare_json()
                     : state_ == State::listed    ? add_listed()
                                                  : false;
  if (!found) rest = (state_ == State::text ? "" : marker_) + buffer_;
  // After calls, white space is no answer.
  if (!calls_.empty() && base::trimmed(rest).empty()) rest.clear();
  buffer_.clear();
  state_ = State::text;
  return rest;
}

std::vector<ToolCall> ToolCallParser::take_calls() {
  return std::exchange(calls_, {});
}

bool ToolCallParser::add_call(std::string_view text, bool known_names_only) {
  const auto value = parse(base::trimmed(text));
  if (!value) return false;
  const auto call = call_of(*value);
  if (!call) return false;
  if (known_names_only && std::ranges::find(names_, call->name) == names_.end()) return false;
  calls_.push_back(*call);
  return true;
}

/// One object, or several with semicolons between them.
bool ToolCallParser::add_bare_json() {
  const size_t before = calls_.size();
  std::string_view rest = base::trimmed(buffer_);
  while (!rest.empty()) {
    const size_t end = end_of_json(rest);
    if (end == 0 || !add_call(rest.substr(0, end), true)) {
      calls_.resize(before);
      return false;
    }
    rest = base::trimmed(rest.substr(end));
    if (rest.starts_with(';')) rest = base::trimmed(rest.substr(1));
  }
  return calls_.size() > before;
}

/// A list of objects, or a name, [ARGS] and the arguments (Mistral's tokenizers from version 11 on), or one of each
/// after another.
bool ToolCallParser::add_listed() {
  const size_t before = calls_.size();
  std::string_view rest = base::trimmed(buffer_);
  while (!rest.empty()) {
    if (rest.starts_with(kList)) {
      rest = base::trimmed(rest.substr(kList.size()));
      continue;
    }
    const size_t brace = rest.find_first_of("{[");
    if (brace == std::string_view::npos) break;
    std::string name(base::trimmed(rest.substr(0, brace)));
    size_t start = brace;
    if (rest.substr(brace).starts_with(kArguments)) start = brace + kArguments.size();
    rest = base::trimmed(rest.substr(start));
    const size_t end = end_of_json(rest);
    const auto value = end == 0 ? std::nullopt : parse(rest.substr(0, end));
    if (!value) break;
    if (!name.empty()) {
      calls_.push_back({std::move(name), arguments_text(*value)});
    } else {
      for (const base::OrderedJson& item : value->is_array() ? *value : base::OrderedJson::array({*value})) {
        const auto call = call_of(item);
        if (!call) {
          calls_.resize(before);
          return false;
        }
        calls_.push_back(*call);
      }
    }
    rest = base::trimmed(rest.substr(end));
  }
  if (!rest.empty()) calls_.resize(before);
  return calls_.size() > before;
}

/// A schema with its references ("#", "#/$defs/x") led to where its root is now: `place`. Values that are no schemas
/// (const, enum, default, examples) stay; what is under `names_schemas` is named freely.
base::OrderedJson with_moved_references(const base::OrderedJson& schema, const std::string& place, bool names_schemas) {
  base::OrderedJson result = schema;
  if (schema.is_array()) {
    for (base::OrderedJson& part : result) part = with_moved_references(part, place, false);
  }
  if (!schema.is_object()) return result;
  for (auto& [name, value] : result.items()) {
    const std::string_view key = name;
    const auto is_one_of = [&](std::initializer_list<std::string_view> names) {
      return !names_schemas && std::ranges::find(names, key) != names.end();
    };
    if (is_one_of({"const", "enum", "default", "examples"})) continue;
    if (is_one_of({"$ref"}) && value.is_string()) {
      const auto& reference = value.get_ref<const std::string&>();
      if (reference.starts_with('#')) value = "#" + place + reference.substr(1);
    } else {
      const bool named = is_one_of({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"});
      value = with_moved_references(value, place, named);
    }
  }
  return result;
}

base::OrderedJson call_schema(const std::vector<Tool>& tools, const std::string& chosen, ToolConvention convention) {
  const char* const arguments = convention == ToolConvention::llama ? "parameters" : "arguments";
  base::OrderedJson calls = base::OrderedJson::array(), definitions = base::OrderedJson::object();
  for (const Tool& tool : tools) {
    if (!chosen.empty() && tool.name != chosen) continue;
    // References are looked up from the root of the whole: a tool's schema that has some becomes a definition there.
    const std::string name = fmt::format("tool{}", calls.size()), place = "/$defs/" + name;
    base::OrderedJson parameters = with_moved_references(tool.parameters, place, false);
    if (parameters != tool.parameters) {
      definitions[name] = std::move(parameters);
      parameters = {{"$ref", "#" + place}};
    }
    base::OrderedJson call{{"type", "object"}};
    call["properties"] = {{"name", {{"const", tool.name}}}, {arguments, std::move(parameters)}};
    call["required"] = base::OrderedJson::array({"name", arguments});
    call["additionalProperties"] = false;
    calls.push_back(std::move(call));
  }
  base::OrderedJson schema = calls.size() == 1 ? calls[0] : base::OrderedJson{{"anyOf", calls}};
  if (convention == ToolConvention::mistral) {
    schema = {{"type", "array"}, {"items", schema}, {"minItems", 1}, {"maxItems", chosen.empty() ? 16 : 1}};
  }
  if (!definitions.empty()) schema["$defs"] = std::move(definitions);
  return schema;
}

std::string call_prefix(ToolConvention convention) {
  switch (convention) {
    case ToolConvention::hermes:
      return std::string(kOpen) + "\n";
    case ToolConvention::mistral:
      return std::string(kList);
    default:
      return "";
  }
}

}  // namespace fledge::serve
