#include "infer/stop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace fledge::infer {
namespace {

const std::string kReplacement = "\xEF\xBF\xBD";

TEST(StopFilter, HoldsBackWhatCouldBeAStopString) {
  StopFilter filter({"\n\nUser:"});
  EXPECT_EQ(filter.push("Yes."), "Yes.");
  EXPECT_EQ(filter.push(" No.\n"), " No.");
  EXPECT_EQ(filter.push("\n"), "");
  EXPECT_EQ(filter.push("\nUse"), "\n");
  EXPECT_EQ(filter.push("d:"), "\n\nUsed:");
  EXPECT_EQ(filter.push("\n\nUser"), "");
  EXPECT_EQ(filter.found(), std::nullopt);
  EXPECT_EQ(filter.push(": and more"), "");
  EXPECT_EQ(filter.found(), "\n\nUser:");
  EXPECT_EQ(filter.push("again"), "");
  EXPECT_EQ(filter.finish(), "");
}

TEST(StopFilter, GivesBackWhatItHeldAtTheEnd) {
  StopFilter filter({"stop"});
  EXPECT_EQ(filter.push("do not sto"), "do not ");
  EXPECT_EQ(filter.finish(), "sto");
  EXPECT_EQ(filter.finish(), "");
}

TEST(StopFilter, TheStopStringThatIsCompleteFirstCounts) {
  for (const bool byte_by_byte : {false, true}) {
    const auto run = [&](std::vector<std::string> stops, std::string_view text) {
      StopFilter filter(std::move(stops));
      std::string out;
      for (size_t i = 0; i < text.size(); i += byte_by_byte ? 1 : text.size()) {
        out += filter.push(text.substr(i, byte_by_byte ? 1 : text.size()));
      }
      out += filter.finish();
      return out + "|" + filter.found().value_or("none");
    };
    EXPECT_EQ(run({"abcd", "bc"}, "xabcdx"), "xa|bc");
    EXPECT_EQ(run({"bc", "abc"}, "xabcx"), "x|abc");
    EXPECT_EQ(run({"abc", "bc"}, "xabcx"), "x|abc");
    EXPECT_EQ(run({"aab"}, "aaaab"), "aa|aab");
    EXPECT_EQ(run({"b"}, "ab"), "a|b");
    EXPECT_EQ(run({"end"}, "the enemy"), "the enemy|none");
    EXPECT_EQ(run({}, "text"), "text|none");
  }
}

TEST(StopFilter, NeverGivesHalfACharacter) {
  StopFilter filter({});
  EXPECT_EQ(filter.push("a\xF0\x9F"), "a");
  EXPECT_EQ(filter.push("\xA6"), "");
  EXPECT_EQ(filter.push("\x86z"), "\xF0\x9F\xA6\x86z");
  EXPECT_EQ(filter.push("\xE2\x82"), "");
  EXPECT_EQ(filter.finish(), kReplacement);
}

TEST(StopFilter, ReplacesWhatIsNotUtf8AsPythonDoes) {
  const auto text = [](std::string_view bytes) {
    StopFilter filter({});
    std::string out = filter.push(bytes);
    return out + filter.finish();
  };
  const std::string& r = kReplacement;
  // Each from bytes(...).decode("utf-8", "replace").
  EXPECT_EQ(text("\xFF\xFE"), r + r);
  EXPECT_EQ(text("\xE2\x82\x41"), r + "A");
  EXPECT_EQ(text("\xE2\x28\xA1"), r + "(" + r);
  EXPECT_EQ(text("\xF0\x9F\xA6\xF0\x9F\xA6\x86"), r + "\xF0\x9F\xA6\x86");
  EXPECT_EQ(text("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(text("\xC0\x80"), r + r);
  EXPECT_EQ(text("\xF4\x90\x80\x80"), r + r + r + r);
}

TEST(StopFilter, FindsStopStringsBesideBrokenCharacters) {
  StopFilter filter({"é!"});
  EXPECT_EQ(filter.push("caf\xC3"), "caf");
  EXPECT_EQ(filter.push("\xA9"), "");
  EXPECT_EQ(filter.push("?\xE2\x82"), "é?");
  EXPECT_EQ(filter.push("é!"), kReplacement);
  EXPECT_EQ(filter.found(), "é!");
}

/// However the bytes are cut, the same text comes out, and every piece of it is whole.
TEST(StopFilter, DoesNotDependOnTheCuts) {
  const base::Random random(7, 0);
  const std::vector<std::string> alphabet{"a", "b", "\n", "\xC3", "\xA9", "\xE2", "\x82", "\xAC", "é", "€"};
  const std::vector<std::vector<std::string>> stop_sets{{}, {"ab\n"}, {"€a", "aa"}, {"\xA9", "bab", "\n\n\n"}};
  uint64_t draw = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto& stops = stop_sets[static_cast<size_t>(round) % stop_sets.size()];
    std::string bytes;
    while (bytes.size() < 20) bytes += alphabet[random.below(alphabet.size(), draw++)];
    StopFilter whole(stops), cut(stops);
    std::string expected = whole.push(bytes);
    expected += whole.finish();
    std::string text;
    for (size_t position = 0; position < bytes.size();) {
      const size_t size = 1 + random.below(4, draw++);
      const std::string piece = cut.push(std::string_view(bytes).substr(position, size));
      StopFilter check({});
      ASSERT_EQ(check.push(piece), piece);  // whole characters: nothing of it is held back or replaced
      text += piece;
      position += size;
    }
    text += cut.finish();
    ASSERT_EQ(text, expected);
    ASSERT_EQ(cut.found(), whole.found());
  }
}

TEST(StopFilter, RefusesAnEmptyStopString) {
  EXPECT_THROW(StopFilter({"a", ""}), base::UsageError);
}

}  // namespace
}  // namespace fledge::infer
