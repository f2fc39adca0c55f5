#include "train/label_metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace fledge::train {
namespace {

TEST(LabelMetrics, OfTwoLabelsAreTheFieldsOwn) {
  // 5 true negatives, 2 false positives, 3 false negatives, 7 true positives.
  const std::vector<double> counts = {5, 2, 3, 7};
  const Confusion confusion(2, counts);
  EXPECT_DOUBLE_EQ(confusion.accuracy(), 12.0 / 17.0);
  EXPECT_DOUBLE_EQ(confusion.f1(1), 14.0 / 19.0);
  EXPECT_DOUBLE_EQ(confusion.f1(0), 10.0 / 15.0);
  EXPECT_DOUBLE_EQ(confusion.macro_f1(), (14.0 / 19.0 + 10.0 / 15.0) / 2);
  EXPECT_NEAR(confusion.matthews(), (7.0 * 5 - 2 * 3) / std::sqrt(9.0 * 10 * 7 * 8), 1e-15);
}

TEST(LabelMetrics, OfManyLabelsLeaveOutWhatIsNotThere) {
  Confusion confusion(4);
  for (int i = 0; i < 6; ++i) confusion.add(0, 0);
  for (int i = 0; i < 3; ++i) confusion.add(1, 2);
  for (int i = 0; i < 9; ++i) confusion.add(2, 2);
  EXPECT_DOUBLE_EQ(confusion.total(), 18.0);
  EXPECT_DOUBLE_EQ(confusion.f1(3), 0.0);
  EXPECT_DOUBLE_EQ(confusion.macro_f1(), (1.0 + 0.0 + 18.0 / 21.0) / 3);
  // 15 of 18 are right; the labels occur 6, 3, 9 times and are found 6, 0, 12 times.
  EXPECT_NEAR(confusion.matthews(), (15.0 * 18 - (6 * 6 + 9 * 12)) / std::sqrt((324.0 - 126) * (324 - 180)), 1e-14);
  EXPECT_DOUBLE_EQ(Confusion(2, std::vector<double>{4, 0, 0, 0}).matthews(), 0.0);
  const std::vector<std::string> names = {"a", "\u4e2d", "a name that is far too long for its column", "d"};
  const std::string table = confusion.table(names);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 5);
}

TEST(LabelMetrics, CorrelationsOfNumbers) {
  const std::vector<double> a = {1, 2, 3, 4, 5}, b = {2, 1, 4, 3, 7}, flat = {3, 3, 3, 3, 3};
  EXPECT_NEAR(pearson(a, b), 0.824163383692134, 1e-14);
  EXPECT_NEAR(spearman(a, b), 0.8, 1e-14);
  EXPECT_EQ(pearson(a, flat), 0.0);
  // Equal numbers share their ranks: 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
  EXPECT_NEAR(spearman(std::vector<double>{1, 2, 2, 9}, std::vector<double>{0, 5, 6, 7}), 0.9486832980505138, 1e-14);
  EXPECT_NEAR(spearman(a, std::vector<double>{-1, -8, -27, -64, -999}), -1.0, 1e-14);
}

}  // namespace
}  // namespace fledge::train
