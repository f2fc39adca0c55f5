#include "base/text.h"

#include <gtest/gtest.h>

namespace fledge::base {
namespace {

TEST(Text, TrimsBothEnds) {
  EXPECT_EQ(trimmed(" \t a b\r\n"), "a b");
  EXPECT_EQ(trimmed("a"), "a");
  EXPECT_EQ(trimmed(" \n"), "");
  EXPECT_EQ(trimmed(""), "");
}

TEST(Text, CountsWords) {
  EXPECT_EQ(count_words(" two\twords \n"), 2);
  EXPECT_EQ(count_words("a"), 1);
  EXPECT_EQ(count_words(" "), 0);
}

TEST(Text, EscapesMarkup) {
  EXPECT_EQ(escaped_markup("<a b=\"c\"> & 'd'"), "&lt;a b=&quot;c&quot;&gt; &amp; 'd'");
}

}  // namespace
}  // namespace fledge::base
