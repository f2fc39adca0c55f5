#include "train/data/pack_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/random.h"

namespace fledge::train {
namespace {

std::vector<int32_t> some_lengths(size_t count, int32_t longest) {
  const base::Random random(3, 9);
  std::vector<int32_t> lengths;
  for (size_t index = 0; index < count; ++index) {
    lengths.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(longest) + 1, index)));
  }
  return lengths;
}

TEST(PackPlan, PlacesEveryPieceOnceInEachEpoch) {
  const std::vector<int32_t> lengths = some_lengths(3000, 200);
  const PackPlan plan(lengths, 200, 7);
  const int64_t used = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  EXPECT_EQ(plan.used_places(), used);
  // Best fit with the longest first needs at most 11/9 of the best possible number of rows, and here next to no more.
  EXPECT_LE(static_cast<double>(plan.rows()), 1.01 * static_cast<double>(used) / 200.0 + 1.0);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> all;
    for (int64_t row = 0; row < plan.rows(); ++row) {
      const std::vector<int64_t> pieces = plan.pieces(epoch, row);
      int64_t length = 0;
      for (const int64_t piece : pieces) length += lengths[static_cast<size_t>(piece)];
      EXPECT_LE(length, 200);
      EXPECT_LE(static_cast<int64_t>(pieces.size()), plan.most_pieces());
      all.insert(all.end(), pieces.begin(), pieces.end());
    }
    epochs.push_back(all);
    std::ranges::sort(all);
    EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
    EXPECT_EQ(static_cast<int64_t>(all.size()), std::ranges::count_if(lengths, [](int32_t l) { return l > 0; }));
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(PackPlan, IsAFunctionOfSeedEpochAndRow) {
  const std::vector<int32_t> lengths = some_lengths(500, 50);
  const PackPlan plan(lengths, 64, 7), same(lengths, 64, 7), other(lengths, 64, 8);
  std::set<int64_t> changed;
  for (int64_t row = 0; row < plan.rows(); ++row) {
    EXPECT_EQ(plan.pieces(1, row), same.pieces(1, row));
    EXPECT_EQ(plan.pieces_in_order(row), other.pieces_in_order(row));
    if (plan.pieces(1, row) != other.pieces(1, row)) changed.insert(row);
  }
  EXPECT_GT(static_cast<int64_t>(changed.size()), plan.rows() / 2);
}

TEST(PackPlan, MeetsTheEdges) {
  EXPECT_EQ(PackPlan({}, 8, 1).rows(), 0);
  const std::vector<int32_t> none{0, 0};
  EXPECT_EQ(PackPlan(none, 8, 1).rows(), 0);
  const std::vector<int32_t> full{8, 8, 1, 7, 3, 5};
  EXPECT_EQ(PackPlan(full, 8, 1).rows(), 4);
  const std::vector<int32_t> long_one{9};
  EXPECT_THROW(PackPlan(long_one, 8, 1), std::runtime_error);
}

}  // namespace
}  // namespace fledge::train
