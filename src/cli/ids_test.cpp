#include "cli/ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fledge::cli {
namespace {

using testing::ElementsAre;

TEST(Ids, RowsOfNumbers) {
  EXPECT_THAT(parse_ids("1,2,3", "--ids"), ElementsAre(1, 2, 3));
  EXPECT_THAT(parse_ids(" 1, -100 ,3\n", "--ids"), ElementsAre(1, -100, 3));
  EXPECT_THAT(parse_ids("", "--ids"), ElementsAre());
  EXPECT_THAT(parse_id_rows("1,2;3,4", "--ids"), ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4)));
}

TEST(Ids, AnythingElseIsNamed) {
  for (const char* bad : {"1,,2", "1,", ",1", "a", "1 2", "2147483648", "1.5", "0x1"})
    EXPECT_THROW(parse_id_rows(bad, "--ids"), base::UsageError) << bad;
  try {
    parse_ids("1,two", "--targets");
    FAIL();
  } catch (const base::UsageError& error) {
    EXPECT_STREQ(error.what(), "--targets: \"two\" is not a token id; expected numbers such as 1,2,3");
  }
}

}  // namespace
}  // namespace fledge::cli
