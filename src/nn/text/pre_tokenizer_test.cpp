#include "nn/text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "nn/text/character_class.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr SplitPattern kPatterns[] = {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2};

/// Characters that the patterns treat apart, and some that look like them.
const std::u32string kAdversarial =
    U"aZzAsStTdDmMlLvVeErR'''''    \t\n\n\r\v\f019_-.,!?<|>(){}\\/\"#"
    U"\u0085\u00A0\u1680\u180E\u2003\u2028\u202F\u3000\u200B\u200D\uFEFF\u017F\u212A\u00E9\u00DF\u0130\u0131"
    U"\u0301\u0660\u0967\u00B2\u00BD\u2167\u4E00\u3042\uAC00\u0416\u05D0\u0E01\U0001F30A\U0001D7D9\U00010400\U0010FFFF";

std::string random_text(const base::Random& random, uint64_t& position, size_t length) {
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    // Runs of one character, so that the limits of {1,3} and of white space runs are met.
    const char32_t c = kAdversarial[random.below(kAdversarial.size(), position++)];
    const uint64_t repeat = random.below(4, position++) == 0 ? 1 + random.below(20, position++) : 1;
    for (uint64_t n = 0; n < repeat; ++n) append_utf8(text, c);
  }
  return text;
}

TEST(CharacterClass, IsThatOfPcre2ForEveryCodePoint) {
  const char* const expressions[] = {nullptr, "\\p{L}", "\\p{N}", "\\p{White_Space}"};
  for (size_t wanted = 1; wanted < 4; ++wanted) {
    const auto splitter = make_pcre2_splitter(expressions[wanted], "test");
    for (char32_t first = 0; first < 0x110000; first += 256) {
      if (first >= 0xD800 && first < 0xE000) continue;
      // A noncharacter of no class before each character keeps the matches apart.
      std::string text, expected;
      size_t matches = 0;
      for (char32_t c = first; c < first + 256; ++c) {
        append_utf8(text, c);
        matches += character_classes()[c] == static_cast<CharacterClass>(wanted);
      }
      size_t found = 0;
      for (const std::string& piece : split_to_list(*splitter, text)) {
        size_t length;
        const char32_t c = decode_utf8(piece.data(), length);
        if (length != piece.size()) continue;  // several characters between two matches
        const bool is_wanted = character_classes()[c] == static_cast<CharacterClass>(wanted);
        found += is_wanted;
      }
      ASSERT_EQ(found, matches) << "class " << wanted << " at U+" << std::hex << static_cast<uint32_t>(first);
    }
  }
}

TEST(Scanner, EqualsItsRegularExpressionOnAdversarialText) {
  const base::Random random(7, 1);
  for (const SplitPattern pattern : kPatterns) {
    const auto scanner = make_scanner(pattern);
    const auto reference = make_pcre2_splitter(std::string(split_regex(pattern)), "test");
    uint64_t position = 0;
    for (int round = 0; round < 4000; ++round) {
      const std::string text = random_text(random, position, 1 + random.below(40, position));
      ASSERT_EQ(split_to_list(*scanner, text), split_to_list(*reference, text)) << split_regex(pattern) << "\n" << text;
    }
  }
}

TEST(Scanner, EqualsItsRegularExpressionOnAllStringsOfFewCharacters) {
  const std::string letters = "a's \n1.";
  for (const SplitPattern pattern : kPatterns) {
    const auto scanner = make_scanner(pattern);
    const auto reference = make_pcre2_splitter(std::string(split_regex(pattern)), "test");
    for (size_t number = 0; number < 16807; ++number) {  // 7^5
      std::string text;
      for (size_t rest = number; rest > 0; rest /= letters.size()) text += letters[rest % letters.size()];
      ASSERT_EQ(split_to_list(*scanner, text), split_to_list(*reference, text)) << text;
    }
  }
}

TEST(Scanner, BreaksAfterLinesWhereItSaysSo) {
  const base::Random random(8, 1);
  for (const SplitPattern pattern : kPatterns) {
    const auto scanner = make_scanner(pattern);
    ASSERT_TRUE(scanner->breaks_after_lines());
    uint64_t position = 0;
    for (int round = 0; round < 2000; ++round) {
      const std::string left = random_text(random, position, 10) + "a1.'"[round / 4 % 4] + "\n";
      const std::string right = std::string(1, "x1.'"[round % 4]) + random_text(random, position, 10);
      auto apart = split_to_list(*scanner, left);
      for (auto& piece : split_to_list(*scanner, right)) apart.push_back(piece);
      ASSERT_EQ(split_to_list(*scanner, left + right), apart);
    }
  }
}

TEST(RegexSplitter, UsesTheScannerForEverySpellingOfAKnownPattern) {
  const auto splitter = make_regex_splitter(
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
      "test");
  EXPECT_TRUE(splitter->breaks_after_lines());
  const auto reference = make_pcre2_splitter(std::string(split_regex(SplitPattern::kLlama3)), "test");
  const std::string text = "I'LL  say:\n\n\n  12345 x\t\ty";
  EXPECT_EQ(split_to_list(*splitter, text), split_to_list(*reference, text));
}

TEST(RegexSplitter, KeepsWhatDoesNotMatch) {
  const auto splitter = make_pcre2_splitter("b+|x*", "test");
  EXPECT_EQ(split_to_list(*splitter, "aabbaéxxc"), (std::vector<std::string>{"aa", "bb", "aé", "xx", "c"}));
}

TEST(RegexSplitter, RefusesABadExpressionAndOneThatNeverEnds) {
  try {
    make_pcre2_splitter("(a", "some.json");
    FAIL() << "a bad expression was accepted";
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("some.json"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("(a"), std::string::npos);
  }
  const auto endless = make_pcre2_splitter("(a|aa)*\\1{2}b|(a+)+c", "some.json");
  EXPECT_THROW(split_to_list(*endless, std::string(200, 'a')), base::Error);
}

TEST(Sequence, SplitsThePiecesOfTheStepBefore) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(make_pcre2_splitter("\\p{N}", "test"));
  steps.push_back(make_scanner(SplitPattern::kGpt2));
  const auto sequence = make_sequence(std::move(steps));
  EXPECT_EQ(split_to_list(*sequence, "ab 12 cd"), (std::vector<std::string>{"ab", " ", "1", "2", " cd"}));
}

TEST(SplitPatternName, NamesTheKnownOnesInItsError) {
  EXPECT_EQ(split_pattern_by_name("cl100k"), SplitPattern::kLlama3);
  EXPECT_THROW(split_pattern_by_name("gpt5"), base::UsageError);
}

}  // namespace
}  // namespace fledge::nn
