#include "serve/tool_calls.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "infer/constraint/constraint.h"
#include "infer/constraint/json_schema.h"

namespace fledge::serve {
namespace {

struct Found {
  std::string text;
  std::vector<ToolCall> calls;
};

/// Parses a text that comes in pieces of `size` bytes.
Found parse(std::string_view text, size_t size) {
  ToolCallParser parser({"add", "sub"});
  Found found;
  const auto take = [&] {
    for (ToolCall& call : parser.take_calls()) found.calls.push_back(std::move(call));
  };
  for (size_t i = 0; i < text.size(); i += size) {
    found.text += parser.push(text.substr(i, size));
    take();
  }
  found.text += parser.finish();
  take();
  return found;
}

struct Case {
  const char* written;
  const char* text;
  std::vector<std::pair<std::string, std::string>> calls;
};

TEST(ToolCalls, AreFoundInEveryConventionHoweverTheTextComes) {
  const Case cases[] = {
      {"Hello <b>you</b> [1] {x}", "Hello <b>you</b> [1] {x}", {}},
      {"  spaces stay  ", "  spaces stay  ", {}},
      {"<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":1}}</tool_call>", "", {{"add", "{\"a\":1}"}}},
      {"Hm.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>\n<tool_call>{\"name\": "
       "\"sub\"}</tool_call>",
       "Hm.",
       {{"add", "{}"}, {"sub", "{}"}}},
      {"<tool_call>{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}", "", {{"add", "{\"a\":1}"}}},
      {"<tool_call>not JSON</tool_call> on", "<tool_call>not JSON</tool_call> on", {}},
      {"<tool_call>unfinished", "<tool_call>unfinished", {}},
      {"<tool", "<tool", {}},
      {"[TOOL_CALLS][{\"name\":\"add\",\"arguments\":{\"a\":\"]}\"}},{\"name\":\"sub\",\"arguments\":{}}]",
       "",
       {{"add", "{\"a\":\"]}\"}"}, {"sub", "{}"}}},
      {"[TOOL_CALLS]add[ARGS]{\"a\": 2}[TOOL_CALLS]sub[ARGS]{}", "", {{"add", "{\"a\":2}"}, {"sub", "{}"}}},
      {"[TOOL_CALLS][{\"name\":", "[TOOL_CALLS][{\"name\":", {}},
      {"{\"name\": \"add\", \"parameters\": {\"a\": 1}}", "", {{"add", "{\"a\":1}"}}},
      {"<|python_tag|>{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"sub\", \"parameters\": {}}",
       "",
       {{"add", "{}"}, {"sub", "{}"}}},
      // A JSON answer that is no call of a tool there is.
      {"{\"name\": \"Ann\", \"age\": 3}", "{\"name\": \"Ann\", \"age\": 3}", {}},
      {"{\"name\": 3}", "{\"name\": 3}", {}},
      {"{ broken", "{ broken", {}},
  };
  for (const Case& one : cases) {
    for (const size_t size : {size_t{1}, size_t{3}, size_t{1000}}) {
      SCOPED_TRACE(std::string(one.written) + " by " + std::to_string(size));
      const Found found = parse(one.written, size);
      EXPECT_EQ(found.text, one.text);
      ASSERT_EQ(found.calls.size(), one.calls.size());
      for (size_t i = 0; i < one.calls.size(); ++i) {
        EXPECT_EQ(found.calls[i].name, one.calls[i].first);
        EXPECT_EQ(found.calls[i].arguments, one.calls[i].second);
      }
    }
  }
}

TEST(ToolCalls, HaveASchemaInTheModelsConvention) {
  EXPECT_EQ(convention_of("... [TOOL_CALLS] ..."), ToolConvention::mistral);
  EXPECT_EQ(convention_of("... <tool_call> ..."), ToolConvention::hermes);
  EXPECT_EQ(convention_of("{\"name\": function name, \"parameters\": dictionary}"), ToolConvention::llama);
  const std::vector<Tool> tools{{"add", {{"type", "object"}}}, {"sub", {{"type", "object"}}}};
  const base::OrderedJson one = call_schema(tools, "sub", ToolConvention::llama);
  EXPECT_EQ(one["properties"]["name"]["const"], "sub");
  EXPECT_EQ(one["required"], base::OrderedJson::array({"name", "parameters"}));
  EXPECT_EQ(call_schema(tools, "", ToolConvention::hermes)["anyOf"].size(), 2u);
  EXPECT_EQ(call_schema(tools, "", ToolConvention::mistral)["type"], "array");
}

/// Whether the schema lets this text through to its end.
bool accepts(const base::OrderedJson& schema, std::string_view text) {
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
  const auto vocabulary = std::make_shared<const infer::VocabularyTrie>(bytes);
  const auto constraint = infer::CompiledConstraint::make(infer::compile_json_schema(schema), vocabulary)->begin();
  std::array<uint64_t, 4> mask;
  for (const char letter : text) {
    const auto byte = static_cast<uint8_t>(letter);
    constraint->allowed(mask);
    if ((mask[byte / 64] >> byte % 64 & 1) == 0) return false;
    constraint->accept(byte);
  }
  return constraint->may_end();
}

TEST(ToolCalls, LookReferencesUpInTheToolsOwnSchema) {
  // Both call their definition "value", one is recursive from its root, and one has properties named as keywords are.
  const base::OrderedJson tree = base::OrderedJson::parse(R"({"type": "object", "properties": {
      "next": {"$ref": "#"}, "value": {"$ref": "#/$defs/value"}}, "required": ["value"], "additionalProperties": false,
      "$defs": {"value": {"type": "integer"}}})");
  const base::OrderedJson names = base::OrderedJson::parse(R"({"type": "object", "properties": {
      "$ref": {"$ref": "#/definitions/value"}, "const": {"anyOf": [{"$ref": "#/definitions/value"}, {"type": "null"}]},
      "fixed": {"const": {"$ref": "#/definitions/value"}}}, "required": ["$ref"], "additionalProperties": false,
      "definitions": {"value": {"enum": ["x", "y"]}}})");
  const std::vector<Tool> tools{{"names", names}, {"tree", tree}, {"plain", {{"type", "object"}}}};
  const base::OrderedJson any = call_schema(tools, "", ToolConvention::hermes);
  const auto call = [](const char* name, const char* arguments) {
    return fmt::format("{{\"name\":\"{}\",\"arguments\":{}}}", name, arguments);
  };
  EXPECT_TRUE(accepts(any, call("tree", R"({"next":{"next":{"value":1},"value":2},"value":3})")));
  EXPECT_FALSE(accepts(any, call("tree", R"({"value":"x"})")));
  EXPECT_FALSE(accepts(any, call("tree", R"({"next":{},"value":3})")));
  EXPECT_TRUE(accepts(any, call("names", R"({"$ref":"x","const":"y","fixed":{"$ref":"#/definitions/value"}})")));
  EXPECT_TRUE(accepts(any, call("names", R"({"$ref":"y","const":null})")));
  EXPECT_FALSE(accepts(any, call("names", R"({"$ref":1})")));
  EXPECT_TRUE(accepts(any, call("plain", "{}")));
  EXPECT_TRUE(accepts(call_schema(tools, "tree", ToolConvention::hermes), call("tree", R"({"value":3})")));
  EXPECT_TRUE(accepts(call_schema(tools, "", ToolConvention::mistral),
                      "[" + call("tree", R"({"value":3})") + "," + call("names", R"({"$ref":"x"})") + "]"));
}

}  // namespace
}  // namespace fledge::serve
