#include "infer/constraint/constraint.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <random>

#include "base/error.h"
#include "infer/constraint/apply.h"

namespace fledge::infer {
namespace {

using testing::HasSubstr;

/// All single bytes, and longer tokens that cross what grammars care about; the last one is empty (special).
std::shared_ptr<const VocabularyTrie> small_vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* token : {"{\"",
                            "\":",
                            "\": ",
                            "\",\"",
                            "\"}",
                            "},",
                            "],",
                            "true",
                            "false",
                            "null",
                            "ab",
                            "abc",
                            "12",
                            "\xC3\xA9",
                            "\xE2\x82",
                            "\\u00",
                            "a\"",
                            "name",
                            ", ",
                            "\n  ",
                            "[1",
                            "-0",
                            "\xF0\x9F\x98\x80",
                            ""}) {
    tokens.emplace_back(token);
  }
  return std::make_shared<VocabularyTrie>(tokens);
}

const std::shared_ptr<const VocabularyTrie>& vocabulary() {
  static const auto kVocabulary = small_vocabulary();
  return kVocabulary;
}

std::vector<int32_t> allowed_tokens(TokenConstraint& constraint) {
  std::vector<uint64_t> mask((vocabulary()->size() + 63) / 64);
  constraint.allowed(mask);
  std::vector<int32_t> result;
  for (size_t token = 0; token < mask.size() * 64; ++token) {
    if ((mask[token / 64] >> token % 64 & 1) != 0) result.push_back(static_cast<int32_t>(token));
  }
  return result;
}

/// Byte by byte, through the masks.
bool accepts(const std::shared_ptr<TokenConstraint>& constraint, std::string_view text) {
  for (const char byte : text) {
    const auto token = static_cast<int32_t>(static_cast<uint8_t>(byte));
    const auto allowed = allowed_tokens(*constraint);
    if (std::ranges::find(allowed, token) == allowed.end()) return false;
    constraint->accept(token);
  }
  return constraint->may_end();
}

bool matches(std::string_view pattern, std::string_view text) {
  return accepts(make_regex_constraint(pattern, vocabulary()), text);
}

bool valid(std::string_view schema, std::string_view text) {
  return accepts(make_json_schema_constraint(base::parse_ordered_json(schema, "schema"), vocabulary()), text);
}

std::string refusal(std::string_view schema) {
  try {
    make_json_schema_constraint(base::parse_ordered_json(schema, "schema"), vocabulary());
  } catch (const base::UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Constraint, RegularExpressions) {
  EXPECT_TRUE(matches("a*b+c?", "aabb"));
  EXPECT_FALSE(matches("a*b+c?", "aac"));
  EXPECT_TRUE(matches("^(?:ab|cd){2,3}$", "abcdab"));
  EXPECT_FALSE(matches("(ab|cd){2,3}", "ab"));
  EXPECT_FALSE(matches("(ab|cd){2,3}", "abababab"));
  EXPECT_TRUE(matches("[^\\d\\s]+", "x\xC3\xA9\xF0\x9F\x98\x80"));
  EXPECT_FALSE(matches("[^\\d\\s]+", "x1"));
  EXPECT_TRUE(matches(".", "\xE2\x82\xAC"));
  EXPECT_FALSE(matches(".", "\xE2\x82"));
  EXPECT_FALSE(matches(".", "\xC0\x80"));
  EXPECT_FALSE(matches(".", "\n"));
  EXPECT_TRUE(matches("\\u20ac|\\uD83D\\uDE00", "\xF0\x9F\x98\x80"));
  EXPECT_TRUE(matches("[\xCE\xB1-\xCF\x89]{2}", "\xCE\xB2\xCF\x88"));
  EXPECT_FALSE(matches("[\xCE\xB1-\xCF\x89]", "\xCE\x91"));
  EXPECT_TRUE(matches("(a*)*b", "aaab"));
  EXPECT_TRUE(matches("(?P<year>\\d{4})-x{,2}", "1999-xx"));
  EXPECT_TRUE(matches("a{x", "a{x"));
  EXPECT_TRUE(matches("[a-c-]+", "a-c"));
}

TEST(Constraint, RefusesRegularExpressionsInOneSentence) {
  for (const char* pattern : {"(",
                              ")",
                              "[",
                              "[]",
                              "a**",
                              "(?=a)",
                              "(?<=:a)",
                              "(?<!a)",
                              "\\1",
                              "\\bx",
                              "a{3,2}",
                              "\\",
                              "\\u12",
                              "\\uD800",
                              "[b-a]",
                              "x^",
                              "a$b",
                              "(^a)",
                              "a++",
                              "(?i)a",
                              "\xFF",
                              "a{20000}",
                              "((a{1000}){1000}){1000}"}) {
    EXPECT_THROW(parse_regex(pattern).root == nullptr || make_regex_constraint(pattern, vocabulary()) == nullptr,
                 base::UsageError)
        << pattern;
  }
  EXPECT_THROW(parse_regex(std::string(100000, '(')), base::UsageError);
  EXPECT_THROW(parse_regex(std::string(1000, '(')), base::UsageError);
}

TEST(Constraint, Objects) {
  const char* schema = R"({"type": "object", "required": ["a", "c"], "additionalProperties": false,
      "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}, "c": {"enum": ["x", 2]}}})";
  EXPECT_TRUE(valid(schema, R"({"a":1,"b":"\u00e9 é","c":"x"})"));
  EXPECT_TRUE(valid(schema, "{\n  \"a\": -12,\n  \"c\": 2\n}"));
  EXPECT_FALSE(valid(schema, R"({"c":2,"a":1})"));
  EXPECT_FALSE(valid(schema, R"({"a":1})"));
  EXPECT_FALSE(valid(schema, R"({"a":1,"c":2,"d":3})"));
  EXPECT_FALSE(valid(schema, R"({"a":01,"c":2})"));
  EXPECT_FALSE(valid(schema, R"({"a":  1,"c":2})"));
  const char* open = R"({"properties": {"ab": {"type": "boolean"}}, "additionalProperties": {"type": "null"}})";
  EXPECT_TRUE(valid(open, "{}"));
  EXPECT_TRUE(valid(open, R"({"ab":true,"abc":null,"a":null,"":null})"));
  EXPECT_TRUE(valid(open, R"({"b":null})"));
  EXPECT_FALSE(valid(open, R"({"ab":null})"));
  EXPECT_FALSE(valid(open, R"({"a":null,"ab":null})"));
  EXPECT_TRUE(valid(R"({"type":"object"})", R"({"x": [1.5e3, {"y": null}], "z": ""})"));
}

TEST(Constraint, ArraysStringsAndNumbers) {
  EXPECT_TRUE(valid(R"({"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":2})", "[true, false]"));
  EXPECT_FALSE(valid(R"({"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":2})", "[]"));
  EXPECT_FALSE(valid(R"({"type":"array","items":{"type":"boolean"},"maxItems":2})", "[true,true,true]"));
  EXPECT_TRUE(valid(R"({"prefixItems":[{"const":1},{"const":2}],"items":false})", "[1]"));
  EXPECT_FALSE(valid(R"({"prefixItems":[{"const":1},{"const":2}],"items":false,"minItems":2})", "[1]"));
  EXPECT_TRUE(valid(R"({"prefixItems":[{"const":1}],"items":{"type":"null"},"minItems":2})", "[1,null,null]"));
  EXPECT_TRUE(valid(R"({"type":"string","minLength":2,"maxLength":3})", R"("é\ud83d\ude00a")"));
  EXPECT_FALSE(valid(R"({"type":"string","minLength":2,"maxLength":3})", R"("a")"));
  EXPECT_FALSE(valid(R"({"type":"string"})", R"("\ud83d")"));
  EXPECT_TRUE(valid(R"({"type":"string","pattern":"^a\"+$"})", R"("a\"\"")"));
  EXPECT_TRUE(valid(R"({"type":"string","pattern":"b"})", R"("abc")"));
  EXPECT_FALSE(valid(R"({"type":"string","pattern":"^b"})", R"("abc")"));
  EXPECT_TRUE(valid(R"({"type":"string","format":"date"})", R"("2024-02-29")"));
  EXPECT_FALSE(valid(R"({"type":"string","format":"date"})", R"("2023-02-29")"));
  EXPECT_TRUE(valid(R"({"type":"number"})", "-0.5e-3"));
  EXPECT_TRUE(valid(R"({"type":"number","exclusiveMinimum":0,"maximum":1})", "0.05"));
  EXPECT_FALSE(valid(R"({"type":"number","exclusiveMinimum":0,"maximum":1})", "0.0"));
  EXPECT_FALSE(valid(R"({"type":"number","exclusiveMinimum":0,"maximum":1})", "1.5"));
}

TEST(Constraint, IntegersWithinBoundsExactly) {
  std::mt19937 random(5);
  for (int trial = 0; trial < 60; ++trial) {
    const int width = trial < 30 ? 30 : 3000;
    int low = static_cast<int>(random() % static_cast<unsigned>(width)) - width / 2;
    int high = low + static_cast<int>(random() % static_cast<unsigned>(width));
    const auto schema = fmt::format(R"({{"type":"integer","minimum":{},"exclusiveMaximum":{}}})", low, high + 1);
    const auto compiled =
        CompiledConstraint::make(compile_json_schema(base::parse_ordered_json(schema, "schema")), vocabulary());
    for (int value = low - 15; value <= high + 15; value += trial < 30 ? 1 : 37) {
      EXPECT_EQ(accepts(compiled->begin(), std::to_string(value)), value >= low && value <= high) << schema << value;
    }
    EXPECT_TRUE(accepts(compiled->begin(), std::to_string(low)));
    EXPECT_TRUE(accepts(compiled->begin(), std::to_string(high)));
    EXPECT_FALSE(accepts(compiled->begin(), std::to_string(high + 1)));
    EXPECT_FALSE(accepts(compiled->begin(), std::to_string(low - 1)));
  }
}

TEST(Constraint, References) {
  const char* tree = R"({"$defs":{"node":{"type":"object","required":["v"],"additionalProperties":false,
      "properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}}}},
      "$ref":"#/$defs/node"})";
  EXPECT_TRUE(valid(tree, R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"));
  EXPECT_FALSE(valid(tree, R"({"v":1,"next":{"v":2,"next":{"next":null}}})"));
  EXPECT_TRUE(valid(R"({"allOf":[{"type":"integer","minimum":3},{"type":"number","maximum":5}]})", "4"));
  EXPECT_FALSE(valid(R"({"allOf":[{"type":"integer","minimum":3},{"type":"number","maximum":5}]})", "6"));
  EXPECT_TRUE(valid(R"({"type":"object","properties":{"k":{"type":"string"}},"required":["k"],
      "anyOf":[{"properties":{"k":{"const":"a"}}},{"properties":{"k":{"const":"b"}}}]})",
                    R"({"k":"b"})"));
}

TEST(Constraint, RefusesSchemasInOneSentence) {
  EXPECT_THAT(refusal(R"({"patternProperties":{}})"), HasSubstr("patternProperties"));
  EXPECT_THAT(refusal(R"({"$ref":"#"})"), HasSubstr("no text"));
  EXPECT_THAT(refusal(R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})"), HasSubstr("itself"));
  EXPECT_THAT(refusal(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})"), HasSubstr("no text"));
  EXPECT_THAT(refusal(R"({"type":"integer","minimum":3,"maximum":2})"), HasSubstr("no text"));
  EXPECT_THAT(refusal(R"({"type":"number","minimum":0.5})"), HasSubstr("whole"));
  EXPECT_THAT(refusal(R"({"type":"string","maxLength":1e9})"), HasSubstr("limit"));
  EXPECT_THAT(refusal(R"({"$ref":"http://example.com"})"), HasSubstr("$ref"));
  EXPECT_THAT(refusal(R"({"$ref":"#/nowhere"})"), HasSubstr("nowhere"));
  EXPECT_THAT(refusal(R"({"type":"strin"})"), HasSubstr("unknown"));
  EXPECT_THAT(refusal(R"([])"), HasSubstr("a schema is"));
  std::string deep;
  for (int level = 0; level < 200; ++level) deep += R"({"items":)";
  EXPECT_THAT(refusal(deep + "true" + std::string(200, '}')), HasSubstr("nested"));
}

/// Random walks: no dead ends, and every text that may end there is JSON.
TEST(Constraint, RandomWalksEndInJson) {
  const auto compiled = CompiledConstraint::make(json_object_grammar(), vocabulary());
  std::mt19937 random(11);
  int ended = 0;
  for (int walk = 0; walk < 300; ++walk) {
    const auto constraint = compiled->begin();
    std::string text;
    for (int step = 0; step < 400; ++step) {
      const auto allowed = allowed_tokens(*constraint);
      if (constraint->may_end()) {
        ASSERT_NO_THROW((void)base::parse_json(text, "walk")) << text;
        ++ended;
        if (allowed.empty()) break;
      }
      ASSERT_FALSE(allowed.empty()) << text;
      // Closing tokens more often, so that walks end.
      int32_t token = allowed[random() % allowed.size()];
      if (random() % 2 == 0) {
        for (const char close : {'}', ']', '"'}) {
          if (std::ranges::find(allowed, close) != allowed.end()) token = close;
        }
      }
      constraint->accept(token);
      text += vocabulary()->bytes(token);
    }
  }
  EXPECT_GT(ended, 100);
}

TEST(Constraint, MasksAgreeWithStepsAndSurviveFullCaches) {
  // Long bounded strings make more states than are kept.
  const auto compiled = CompiledConstraint::make(parse_regex("(?:a|b|ab){0,4000}[ab]{0,3000}c"), vocabulary());
  const auto constraint = compiled->begin();
  for (int step = 0; step < 3000; ++step) constraint->accept(step % 2 == 0 ? 'a' : 'b');
  EXPECT_EQ(allowed_tokens(*constraint).size(), 5U);  // a, b, c, ab, abc
  constraint->accept('c');
  EXPECT_TRUE(constraint->may_end());
  EXPECT_TRUE(allowed_tokens(*constraint).empty());
  EXPECT_THROW(constraint->accept('c'), base::Error);
}

TEST(Constraint, AMissingTokenIsSaid) {
  const auto poor = std::make_shared<VocabularyTrie>(std::vector<std::string>{"a", "b"});
  const auto constraint = make_choice_constraint({"ac", "b"}, poor);
  std::vector<uint64_t> mask(1);
  constraint->allowed(mask);
  EXPECT_EQ(mask[0], 3U);
  constraint->accept(0);
  EXPECT_THROW(constraint->allowed(mask), base::Error);
}

TEST(Constraint, ToolCall) {
  const Grammar call = sequence_grammar({literal_grammar("<tool>"), json_object_grammar(), literal_grammar("</tool>")});
  EXPECT_TRUE(accepts(CompiledConstraint::make(call, vocabulary())->begin(), "<tool>{\"a\":1}</tool>"));
  const Grammar either = alternative_grammar({call, choice_grammar({"no", "yes"})});
  EXPECT_TRUE(accepts(CompiledConstraint::make(either, vocabulary())->begin(), "yes"));
}

TEST(Constraint, ApplyForbidsLogits) {
  const auto constraint = make_regex_constraint("a?", vocabulary());
  std::vector<float> logits(300, 1.0f);
  const std::vector<int32_t> ends = {279, 'b'};
  ASSERT_TRUE(apply_constraint(logits, *constraint, ends));
  for (int32_t token = 0; token < 300; ++token) {
    const bool kept = token == 'a' || token == 279 || token == 'b';
    EXPECT_EQ(logits[static_cast<size_t>(token)], kept ? 1.0f : -std::numeric_limits<float>::infinity()) << token;
  }
  constraint->accept('a');
  EXPECT_FALSE(apply_constraint(logits, *constraint, ends));
}

}  // namespace
}  // namespace fledge::infer
