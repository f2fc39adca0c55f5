#include "train/tasks/instruction_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fledge::train {
namespace {

bool keeps(const char* rule, const std::string& text, bool ended = true) {
  const std::string line = std::string(R"({"prompt": "p", "rules": [)") + rule + "]}";
  return follows(parse_instructions(line, "r").front().rules.front(), {text, 1, ended});
}

TEST(InstructionRules, EachKindTellsWhatKeepsItFromWhatBreaksIt) {
  EXPECT_TRUE(keeps(R"({"rule": "max_words", "value": 2})", " two  words \n"));
  EXPECT_FALSE(keeps(R"({"rule": "max_words", "value": 2})", "now three words"));
  EXPECT_FALSE(keeps(R"({"rule": "max_words", "value": 2})", "  "));
  EXPECT_TRUE(keeps(R"({"rule": "min_words", "value": 3})", "now three words"));
  EXPECT_FALSE(keeps(R"({"rule": "min_words", "value": 3})", "two words"));
  EXPECT_TRUE(keeps(R"({"rule": "lines", "value": 2})", "a\n\nb\n"));
  EXPECT_FALSE(keeps(R"({"rule": "lines", "value": 2})", "a b"));
  EXPECT_TRUE(keeps(R"({"rule": "contains", "value": "paris"})", "It is Paris."));
  EXPECT_FALSE(keeps(R"({"rule": "contains", "value": "paris"})", "It is Rome."));
  EXPECT_TRUE(keeps(R"({"rule": "excludes", "value": "paris"})", "It is Rome."));
  EXPECT_FALSE(keeps(R"({"rule": "excludes", "value": "paris"})", "It is Paris."));
  EXPECT_FALSE(keeps(R"({"rule": "excludes", "value": "paris"})", ""));
  EXPECT_TRUE(keeps(R"({"rule": "starts_with", "value": "yes"})", "\nYes, it is."));
  EXPECT_FALSE(keeps(R"({"rule": "starts_with", "value": "yes"})", "Well, yes."));
  EXPECT_TRUE(keeps(R"({"rule": "ends_with", "value": "end."})", "The End. "));
  EXPECT_FALSE(keeps(R"({"rule": "ends_with", "value": "end."})", "The end. More."));
  EXPECT_TRUE(keeps(R"({"rule": "matches", "value": "\\b12\\b"})", "It is 12."));
  EXPECT_FALSE(keeps(R"({"rule": "matches", "value": "\\b12\\b"})", "It is 121."));
  EXPECT_TRUE(keeps(R"({"rule": "json"})", " {\"a\": [1]} "));
  EXPECT_FALSE(keeps(R"({"rule": "json"})", "Here it is: {}"));
  EXPECT_FALSE(keeps(R"({"rule": "json"})", "12"));
  EXPECT_TRUE(keeps(R"({"rule": "uppercase"})", "HELLO!"));
  EXPECT_FALSE(keeps(R"({"rule": "uppercase"})", "HELLo"));
  EXPECT_FALSE(keeps(R"({"rule": "uppercase"})", "12"));
  EXPECT_TRUE(keeps(R"({"rule": "lowercase"})", "hello!"));
  EXPECT_FALSE(keeps(R"({"rule": "lowercase"})", "Hello"));
  EXPECT_TRUE(keeps(R"({"rule": "ended"})", "x", true));
  EXPECT_FALSE(keeps(R"({"rule": "ended"})", "x", false));
  EXPECT_FALSE(keeps(R"({"rule": "ended"})", " ", true));
}

TEST(InstructionRules, RefusesBadFilesWithTheLine) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"", "no prompts"},
      {"{}", "r:1"},
      {R"({"prompt": " "})", "the prompt is empty"},
      {R"({"prompt": "p", "rules": {}})", "is no list"},
      {R"({"prompt": "p", "rules": [{"rule": "max_word", "value": 1}]})", "did you mean max_words"},
      {R"({"prompt": "p", "rules": [{"rule": "max_words"}]})", "value"},
      {R"({"prompt": "p", "rules": [{"rule": "max_words", "value": 0}]})", "1 or more"},
      {R"({"prompt": "p", "rules": [{"rule": "matches", "value": "("}]})", "r:1"},
  };
  for (const auto& [text, sentence] : cases) {
    try {
      parse_instructions(text, "r");
      FAIL() << text;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence)) << text;
    }
  }
}

TEST(InstructionRules, TheStandardPromptsAreSound) {
  EXPECT_GE(standard_instructions().size(), 16u);
  for (const Instruction& instruction : standard_instructions()) {
    EXPECT_FALSE(instruction.rules.empty()) << instruction.prompt;
    for (const InstructionRule& rule : instruction.rules) EXPECT_EQ(describe(rule).find("{}"), std::string::npos);
  }
  EXPECT_EQ(parse_instructions("Hello\n\nWho are you?\n", "p.txt").size(), 2u);
}

}  // namespace
}  // namespace fledge::train
