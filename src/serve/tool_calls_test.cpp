#include "serve/tool_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace fledge::serve
