#include "nn/text/jinja/template.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "nn/text/chat_template.h"

namespace fledge::nn::jinja {
namespace {

base::OrderedJson reference(const std::string& name) {
  const std::string path = std::string(FLEDGE_REFERENCE_DIR) + "/jinja/" + name + ".json";
  return base::parse_ordered_json(base::read_file(path), path);
}

std::string render(const std::string& source, const base::OrderedJson& variables = base::OrderedJson::object()) {
  return Template(source, "test").render(variables).text;
}

std::string error_of(const std::string& source) {
  try {
    render(source);
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

// Every snippet gives what Jinja gives, and is refused where Jinja refuses it.
TEST(JinjaTemplate, SnippetsAgreeWithJinja) {
  const base::OrderedJson data = reference("snippets");
  size_t count = 0;
  for (const auto& entry : data["cases"]) {
    const std::string source = entry[0];
    std::string text, error;
    try {
      text = render(source, data["variables"]);
    } catch (const base::Error& fault) {
      error = fault.what();
    }
    ++count;
    if (entry[1].is_null()) {
      EXPECT_FALSE(error.empty()) << source << " gives " << text << " where Jinja refuses";
    } else {
      EXPECT_EQ(error, "") << source;
      EXPECT_EQ(text, entry[1].get<std::string>()) << source;
    }
  }
  EXPECT_GT(count, 500u);
}

// Whole chat templates, with the spans of the assistant's words.
TEST(ChatTemplate, RendersAsTransformers) {
  const base::OrderedJson data = reference("templates");
  for (const auto& entry : data["cases"]) {
    const std::string name = entry[0], set = entry[1];
    const base::OrderedJson& messages = data["messages"][set];
    const ChatTemplate chat(data["templates"][name].get<std::string>(), name,
                            {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
    ChatRenderOptions options;
    options.add_generation_prompt = entry[2];
    Rendered result;
    std::string error;
    try {
      result = chat.render(messages[0], messages[1].get<bool>() ? data["tools"] : base::OrderedJson(), options);
    } catch (const base::Error& fault) {
      error = fault.what();
    }
    if (entry[3].is_null()) {
      EXPECT_FALSE(error.empty()) << name << ", " << set;
      continue;
    }
    EXPECT_EQ(error, "") << name << ", " << set;
    EXPECT_EQ(result.text, entry[3]["text"].get<std::string>()) << name << ", " << set;
    base::OrderedJson spans = base::OrderedJson::array();
    for (const Span& span : result.generation) spans.push_back({span.begin, span.end});
    EXPECT_EQ(spans, entry[3]["generation"]) << name << ", " << set;
  }
}

TEST(JinjaTemplate, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("a\n{% if %}"),
            "test: line 2 of the chat template: the end of the tag was found where an "
            "expression was expected");
  EXPECT_EQ(error_of("a\n\n{{ x.y }}"), "test: line 3 of the chat template: 'x' is undefined");
  EXPECT_EQ(error_of("{{ raise_exception('no') }}"), "test: the chat template refuses these messages: no");
  EXPECT_NE(error_of("{% include 'x' %}").find("a single file"), std::string::npos);
}

// Templates that would run, grow or nest without end stop in a sentence.
TEST(JinjaTemplate, HostileTemplatesEnd) {
  const std::string deep(5000, '('), lists(5000, '[');
  for (const std::string& source : {
           std::string("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
           std::string("{{ 'a' * 10000000000 }}"),
           std::string("{{ [1] * 10000000000 }}"),
           std::string("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
                       "{% endfor %}"),
           std::string(
               "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
               "{{ ns.l }}"),
           std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("{{ 'x' | center(99999999999) }}{{ 'a' | indent(99999999999, true) }}"),
           std::string("{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}"),
           std::string("{% for i in range(100000) %}{{ 'aaaaaaaaaa' * 1000 }}{% endfor %}"),
           "{{ " + deep + " }}",
           "{{ " + lists + " }}",
           std::string("{{ '%999999999d' % 1 }}"),
       }) {
    EXPECT_NE(error_of(source), "") << source.substr(0, 80);
  }
  std::string sum = "{{ 1";
  for (int index = 0; index < 100000; ++index) sum += "+1";
  EXPECT_NE(error_of(sum + " }}"), "");
}

TEST(JinjaTemplate, BadBytes) {
  EXPECT_NE(error_of("a\xFF").find("not UTF-8 at byte 1"), std::string::npos);
  EXPECT_EQ(render("{{ s }}", {{"s", "a\xFF"}}), "a\xEF\xBF\xBD");
}

}  // namespace
}  // namespace fledge::nn::jinja
