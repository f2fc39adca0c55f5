#include "base/toml.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fledge::base {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_toml(text, "recipe.toml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Toml, ListsEntriesInTheOrderOfTheDocument) {
  const auto entries = parse_toml("b = 1\na = 'x'\n[z]\nq.r = [1, 2]\ny = true\n[m]\nf = 1.5\n", "t");
  ASSERT_EQ(entries.size(), 5u);
  EXPECT_EQ(entries[0].key, "b");
  EXPECT_EQ(entries[1].key, "a");
  EXPECT_EQ(entries[2].key, "z.q.r");
  EXPECT_EQ(entries[3].key, "z.y");
  EXPECT_EQ(entries[4].key, "m.f");
  EXPECT_EQ(entries[0].value, Json(1));
  EXPECT_EQ(entries[1].value, Json("x"));
  EXPECT_EQ(entries[2].value, Json({1, 2}));
  EXPECT_EQ(entries[3].value, Json(true));
  EXPECT_EQ(entries[4].value, Json(1.5));
  EXPECT_EQ(entries[4].line, 7);
  EXPECT_EQ(entries[4].column, 5);
}

TEST(Toml, NamesFileLineAndColumnOfAFault) {
  EXPECT_THAT(error_of("a = 1\nb = \n"), testing::StartsWith("recipe.toml:2:"));
  EXPECT_THAT(error_of("a = 1\na = 2\n"), testing::StartsWith("recipe.toml:2:"));
  EXPECT_THAT(error_of("when = 2024-01-01\n"), testing::HasSubstr("put the value in quotes"));
}

TEST(Toml, RefusesDepthAndSizeBeforeParsing) {
  std::string brackets = "a = " + std::string(100000, '[');
  EXPECT_THAT(error_of(brackets), testing::HasSubstr("nested deeper than 16"));
  std::string dotted = "a";
  for (int part = 0; part < 100000; ++part) dotted += ".a";
  EXPECT_THAT(error_of(dotted + " = 1"), testing::HasSubstr("nested deeper than 16"));
  EXPECT_THAT(error_of("[" + dotted + "]"), testing::HasSubstr("nested deeper than 16"));
  EXPECT_THAT(error_of("{ \"x\"" + dotted), testing::HasSubstr("nested deeper than 16"));
  EXPECT_THAT(error_of(std::string((1 << 20) + 1, '#')), testing::HasSubstr("too many"));
}

TEST(Toml, DepthCountsKeysAndNotTheContentOfStrings) {
  const std::string dots(1000, '.'), brackets(1000, '[');
  const auto entries = parse_toml("a = \"" + dots + brackets + "\\\"" + dots + "\" # " + brackets + "\nb = '" + dots +
                                      "'\nc = \"\"\"" + dots + "\n\"" + brackets + "\"\"\"\n",
                                  "t");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[1].value.get<std::string>(), dots);
}

TEST(Toml, ValuesOfTheCommandLine) {
  EXPECT_EQ(parse_toml_value("3e-4", "--set"), Json(3e-4));
  EXPECT_EQ(parse_toml_value("[\"a\", \"b\"]", "--set"), Json({"a", "b"}));
  EXPECT_THROW(parse_toml_value("1\nother = 2", "--set"), Error);
  EXPECT_THROW(parse_toml_value("gpt2", "--set"), Error);
  EXPECT_THROW(parse_toml_value("", "--set"), Error);
}

TEST(Toml, QuotedTextReadsBack) {
  std::string every;
  for (int c = 1; c < 128; ++c) every += static_cast<char>(c);
  every += "é 漢 \xF0\x9F\x90\xA6";
  EXPECT_EQ(parse_toml_value(toml_quoted(every), "t").get<std::string>(), every);
}

TEST(Toml, Utf8) {
  EXPECT_TRUE(is_valid_utf8("plain é 漢 \xF0\x9F\x90\xA6"));
  for (const char* bad : {"\xFF", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE0\x80\x80", "a\x80"})
    EXPECT_FALSE(is_valid_utf8(bad)) << bad;
}

}  // namespace
}  // namespace fledge::base
