#include "tensor/cpu/weights_ahead.h"

#include <gtest/gtest.h>

#include <array>

#include "base/parallel.h"

namespace fledge::tensor::cpu {
namespace {

class WeightsAhead : public testing::Test {
 protected:
  void SetUp() override { base::set_thread_count(2); }
  void TearDown() override { base::set_thread_count(threads_); }

  static uintptr_t place(const std::byte* weight, int64_t at) {
    return reinterpret_cast<uintptr_t>(weight) + static_cast<uintptr_t>(at);
  }

  const int threads_ = base::thread_count();
  std::array<std::byte, 1024> first_{}, second_{}, third_{};
};

TEST_F(WeightsAhead, ExpectsWhatFollowedTheLastTime) {
  const WeightPanels first{first_.data(), 64, 10}, second{second_.data(), 64, 10};
  announce_weights({&first, 1});
  announce_weights({&second, 1});
  EXPECT_EQ(expected_weight(0, 0), 0U);  // nothing has followed the second one yet
  announce_weights({&first, 1});
  EXPECT_EQ(expected_weight(0, 0), place(second_.data(), 0));
  EXPECT_EQ(expected_weight(0, 319), place(second_.data(), 319));
  EXPECT_EQ(expected_weight(0, 320), 0U);  // the other half is the other thread's
  EXPECT_EQ(expected_weight(1, 0), place(second_.data(), 320));
  EXPECT_EQ(expected_weight(1, 320), 0U);
  announce_weights({&second, 1});
  EXPECT_EQ(expected_weight(0, 0), place(first_.data(), 0));
}

TEST_F(WeightsAhead, CountsThroughTheWeightsOfOneProduct) {
  // Panels of 100 and 50 bytes: eight altogether, of which the first thread reads three and one.
  const WeightPanels before{third_.data(), 1, 1};
  const std::array<WeightPanels, 2> both{WeightPanels{first_.data(), 100, 3}, {second_.data(), 50, 5}};
  announce_weights({&before, 1});
  announce_weights(both);
  announce_weights({&before, 1});
  EXPECT_EQ(expected_weight(0, 299), place(first_.data(), 299));
  EXPECT_EQ(expected_weight(0, 300), place(second_.data(), 0));
  EXPECT_EQ(expected_weight(0, 349), place(second_.data(), 49));
  EXPECT_EQ(expected_weight(0, 350), 0U);
  EXPECT_EQ(expected_weight(1, 0), place(second_.data(), 50));
  EXPECT_EQ(expected_weight(1, 199), place(second_.data(), 249));
  EXPECT_EQ(expected_weight(1, 200), 0U);
}

TEST_F(WeightsAhead, LearnsWhenTheOrderChanges) {
  const WeightPanels first{first_.data(), 64, 2}, second{second_.data(), 64, 2}, third{third_.data(), 64, 2};
  for (const WeightPanels* weight : {&first, &second, &first, &third, &first}) announce_weights({weight, 1});
  EXPECT_EQ(expected_weight(0, 0), place(third_.data(), 0));
}

TEST_F(WeightsAhead, LeavesAloneWhatHasNoPlace) {
  announce_weights({});
  const std::array<WeightPanels, 5> many{};
  announce_weights(many);
}

}  // namespace
}  // namespace fledge::tensor::cpu
