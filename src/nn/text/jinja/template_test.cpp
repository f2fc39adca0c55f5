#include "nn/text/jinja/template.h"
#include "base/json.h"

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

std::string error_of(const std::string& source, const Limits& limits = {}) {
  try {
    Template(source, "test", limits).render(base::OrderedJson::object());
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
// A hundredth of the limits that users get, so that the test is quick; what counts is that each of them ends.
TEST(JinjaTemplate, HostileTemplatesEnd) {
  const Limits limits{.steps = 200'000, .text_bytes = 8u << 20, .output_bytes = 1u << 20, .items = 1u << 14};
  for (const std::string& source : {
           std::string("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}"),
           std::string("{{ 'a' * 10000000000 }}"),
           std::string("{{ [1] * 10000000000 }}"),
           std::string("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
                       "{% endfor %}"),
           std::string(
               "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
               "{{ ns.l }}"),
           std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("{{ 'x' | center(99999999999) }}{{ 'a' | indent(99999999999, true) }}"),
           std::string("{{ ('a' * 100000) | replace('a', 'b' * 100000) }}"),
           std::string("{% for i in range(10000) %}{{ 'aaaaaaaaaa' * 1000 }}{% endfor %}"),
           std::string("{{ '%999999999d' % 1 }}"),
       }) {
    EXPECT_NE(error_of(source, limits), "") << source.substr(0, 80);
  }
}

// What stands inside of itself without end is refused, whether it is closed again or not, in the parser, the walk
// through the tree and its end; what is nested as deep as no template ever is gives its text.
TEST(JinjaTemplate, DeepNestingEnds) {
  struct Shape {
    std::string begin, open, middle, close, end;
    size_t allowed;  ///< how often it may be nested at least
  };
  const std::vector<Shape> shapes = {
      {"{{ ", "(", "1", ")", " }}", 50},
      {"{{ ", "[", "1", "]", " }}", 50},
      {"{{ ", "{1:", "1", "}", " }}", 50},
      {"{{ ", "dict(a=", "1", ")", " }}", 50},
      {"{% set a = [0] %}{{ ", "a[", "0", "]", " }}", 50},
      {"{{ ", "not ", "1", "", " }}", 50},
      {"{{ ", "-", "1", "", " }}", 50},
      {"{{ ", "1 ** ", "1", "", " }}", 50},
      {"{{ ", "1 if 0 else ", "1", "", " }}", 50},
      {"{{ 1", "", "", " + 1", " }}", 50},
      {"{{ 1", "", "", " | abs", " }}", 50},
      {"{{ a", "", "", ".a", " }}", 0},
      {"{{ a", "", "", "()", " }}", 0},
      {"", "{% if 1 %}", "1", "{% endif %}", "", 50},
      {"", "{% if 0 %}{% else %}", "1", "{% endif %}", "", 50},
      {"", "{% for a in [1] %}", "1", "{% endfor %}", "", 50},
      {"", "{% for a in [] %}{% else %}", "1", "{% endfor %}", "", 50},
      {"", "{% with a = 1 %}", "1", "{% endwith %}", "", 50},
      {"", "{% set a %}", "1", "{% endset %}", "", 50},
      {"", "{% filter upper %}", "1", "{% endfilter %}", "", 50},
      {"", "{% macro m() %}", "1", "{% endmacro %}", "", 50},
      {"{% for ", "(", "a", ")", " in [1] %}{% endfor %}", 50},
  };
  const auto repeat = [](const std::string& text, size_t count) {
    std::string result;
    for (size_t index = 0; index < count; ++index) result += text;
    return result;
  };
  for (const Shape& shape : shapes) {
    const auto source = [&](size_t count, bool closed) {
      return shape.begin + repeat(shape.open, count) + shape.middle + (closed ? repeat(shape.close, count) : "") +
             shape.end;
    };
    EXPECT_NE(error_of(source(20000, true)), "") << source(3, true);
    if (!shape.open.empty()) {
      EXPECT_NE(error_of(source(20000, false)), "") << source(3, false);
    }
    if (shape.allowed > 0) {
      EXPECT_EQ(error_of(source(shape.allowed, true)), "") << source(3, true);
    }
  }
}

TEST(JinjaTemplate, BadBytes) {
  EXPECT_NE(error_of("a\xFF").find("not UTF-8 at byte 1"), std::string::npos);
  EXPECT_EQ(render("{{ s }}", {{"s", "a\xFF"}}), "a\xEF\xBF\xBD");
}

}  // namespace
}  // namespace fledge::nn::jinja
