#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace fledge::train {
namespace {

using Kind = Schedule::Kind;

TEST(Schedule, WarmUpRisesByEqualStepsToTheTop) {
  for (const Kind kind : {Kind::cosine, Kind::linear, Kind::constant, Kind::wsd}) {
    const Schedule schedule(kind, 100, 4, 0, 0.1);
    EXPECT_DOUBLE_EQ(schedule.multiplier(0), 0.25);
    EXPECT_DOUBLE_EQ(schedule.multiplier(1), 0.5);
    EXPECT_DOUBLE_EQ(schedule.multiplier(3), 1.0);
    EXPECT_DOUBLE_EQ(schedule.multiplier(4), 1.0);
  }
}

TEST(Schedule, Cosine) {
  const Schedule schedule(Kind::cosine, 110, 10, 0, 0.1);
  EXPECT_DOUBLE_EQ(schedule.multiplier(10), 1.0);
  EXPECT_NEAR(schedule.multiplier(35), 0.1 + 0.9 * (1.0 + std::sqrt(0.5)) / 2.0, 1e-15);  // a quarter
  EXPECT_NEAR(schedule.multiplier(60), 0.55, 1e-15);                                      // half
  EXPECT_NEAR(schedule.multiplier(109), 0.1 + 0.9 * (1.0 + std::cos(0.99 * M_PI)) / 2.0, 1e-15);
  EXPECT_DOUBLE_EQ(schedule.multiplier(110), 0.1);
  EXPECT_DOUBLE_EQ(schedule.multiplier(1000000), 0.1);
}

TEST(Schedule, CosineWithAShorterFallStaysAtTheEnd) {
  const Schedule schedule(Kind::cosine, 100, 0, 40, 0.2);
  EXPECT_NEAR(schedule.multiplier(20), 0.6, 1e-15);
  EXPECT_DOUBLE_EQ(schedule.multiplier(40), 0.2);
  EXPECT_DOUBLE_EQ(schedule.multiplier(99), 0.2);
}

TEST(Schedule, Linear) {
  const Schedule schedule(Kind::linear, 12, 2, 0, 0.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(2), 1.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(7), 0.5);
  EXPECT_DOUBLE_EQ(schedule.multiplier(11), 1.0 - 0.9);
  EXPECT_DOUBLE_EQ(schedule.multiplier(12), 0.0);
}

TEST(Schedule, Constant) {
  const Schedule schedule(Kind::constant, 10, 0, 0, 0.1);
  for (int64_t step = 0; step < 20; ++step) EXPECT_DOUBLE_EQ(schedule.multiplier(step), 1.0);
}

TEST(Schedule, WarmUpStableDecay) {
  const Schedule schedule(Kind::wsd, 100, 10, 16, 0.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(50), 1.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(84), 1.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(88), 0.5);   // 1 - sqrt(4/16)
  EXPECT_DOUBLE_EQ(schedule.multiplier(93), 0.25);  // 1 - sqrt(9/16)
  EXPECT_DOUBLE_EQ(schedule.multiplier(100), 0.0);
  // By default the last fifth.
  const Schedule fifth(Kind::wsd, 100, 10, 0, 0.5);
  EXPECT_DOUBLE_EQ(fifth.multiplier(80), 1.0);
  EXPECT_DOUBLE_EQ(fifth.multiplier(85), 0.5 + 0.5 * 0.5);
  EXPECT_LT(fifth.multiplier(81), 1.0);
}

TEST(Schedule, EdgesOfTheRange) {
  EXPECT_DOUBLE_EQ(Schedule(Kind::cosine, 5, 5, 0, 0.1).multiplier(4), 1.0);
  EXPECT_DOUBLE_EQ(Schedule(Kind::cosine, 1, 0, 0, 0.1).multiplier(0), 1.0);
  EXPECT_DOUBLE_EQ(Schedule(Kind::wsd, 5, 4, 0, 0.1).multiplier(4), 1.0);
  EXPECT_THROW(Schedule(Kind::linear, 5, 6, 0, 0.1), base::UsageError);
  EXPECT_THROW(Schedule(Kind::linear, 5, 3, 3, 0.1), base::UsageError);
  EXPECT_THROW(Schedule(Kind::linear, 0, 0, 0, 0.1), base::UsageError);
}

TEST(Schedule, FromARecipe) {
  const Recipe recipe = parse_recipe(
      "minutes = 1.0\n[data]\npath = 'd'\n[schedule]\nkind = 'linear'\nwarmup_ratio = 0.1\nmin_ratio = 0.5\n", "r");
  const Schedule schedule = Schedule::of(recipe, 110);
  EXPECT_DOUBLE_EQ(schedule.multiplier(0), 1.0 / 11.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(110), 0.5);
}

}  // namespace
}  // namespace fledge::train
