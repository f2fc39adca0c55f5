#include "train/objectives/distillation/on_policy.h"

#include "train/objectives/distillation/test_setting.h"

namespace fledge::train {
namespace {

using namespace distillation_testing;

std::vector<int32_t> integers(const Batch& batch, const char* name) {
  return batch.at(name).to_vector<int32_t>();
}

struct OwnSamples : public testing::Test {
  Setting setting;
  OnPolicyOptions options;

  OwnSamples() {
    setting.prepare(2, 8, 2);
    options = {1.0, setting.source.tokenizer().vocabulary_size(), 0, DType::f32};
  }
  Batch written(int64_t first, int64_t rows, uint64_t step = 3) {
    std::vector<Batch> batches{setting.batch(first, rows)};
    write_own_samples(*setting.student, setting.memory, options, batches, std::span(&first, 1), 7, step);
    return batches[0];
  }
};

TEST_F(OwnSamples, KeepHalfOfTheLongestDocument) {
  const Batch before = setting.batch(0, 6), after = written(0, 6);
  const std::vector<int32_t> old_ids = integers(before, "ids"), ids = integers(after, "ids"),
                             targets = integers(after, "targets"), starts = integers(after, "document_starts"),
                             positions = integers(after, "positions");
  int64_t counted = 0;
  for (size_t row = 0; row < 6; ++row) {
    const size_t first = row * kTokens;
    // The second document has the places 5 to 11, and its first three tokens stay, unless its first target is ignored:
    // then the prompt ends with the first that is not.
    size_t prompt = 3;
    const std::vector<int32_t> old_targets = integers(before, "targets");
    if (old_targets[first + 5] < 0) prompt = 2;
    size_t length = kTokens;
    while (length > 0 && starts[first + length - 1] != 0) --length;
    ASSERT_GT(length, prompt);
    for (size_t place = 0; place < kTokens; ++place) {
      if (place < prompt) {
        EXPECT_EQ(ids[first + place], old_ids[first + 5 + place]);
      }
      if (place < length) {
        EXPECT_EQ(positions[first + place], static_cast<int32_t>(place));
      }
      const bool has_target = place + 1 >= prompt && place + 1 < length;
      EXPECT_EQ(targets[first + place], has_target ? ids[first + place + 1] : kIgnoredTarget);
      counted += has_target ? 1 : 0;
    }
    if (length < kTokens) {
      EXPECT_EQ(ids[first + length - 1], options.end_token);
    }
  }
  EXPECT_EQ(after.target_tokens, counted);
}

TEST_F(OwnSamples, AreFunctionsOfSampleAndStepAlone) {
  const Batch all = written(0, 6), part = written(2, 2), other_step = written(0, 6, 4);
  const std::vector<int32_t> ids = integers(all, "ids");
  EXPECT_EQ(integers(part, "ids"), std::vector<int32_t>(ids.begin() + 2 * kTokens, ids.begin() + 4 * kTokens));
  EXPECT_NE(integers(other_step, "ids"), ids);
  options.share = 0.0;
  EXPECT_EQ(integers(written(0, 6), "ids"), integers(setting.batch(0, 6), "ids"));
  options.share = 0.5;
  const std::vector<int32_t> some = integers(written(0, 40), "ids"), none = integers(setting.batch(0, 40), "ids");
  int changed = 0;
  for (int64_t row = 0; row < 40; ++row) {
    changed +=
        !std::equal(some.begin() + row * kTokens, some.begin() + (row + 1) * kTokens, none.begin() + row * kTokens);
  }
  EXPECT_GT(changed, 10);
  EXPECT_LT(changed, 30);
}

TEST_F(OwnSamples, AreLearnedFrom) {
  setting.recipe.distillation.alpha = 1.0;
  setting.recipe.distillation.on_policy = 1.0;
  setting.recipe.distillation.divergence = "reverse";
  setting.prepare(2, 8, 2);
  std::vector<Batch> batches{setting.batch(0, 4)};
  const int64_t first = 0;
  setting.objective->before_step(*setting.student, setting.memory, 0, batches, std::span(&first, 1));
  EXPECT_NE(integers(batches[0], "ids"), integers(setting.batch(0, 4), "ids"));
  const Setting::Outcome outcome = setting.run(batches, *setting.objective);
  EXPECT_GT(setting.objective->report(outcome.sums).at("kl"), 0.0);
  double squares = 0.0;
  for (const double value : setting.gradients()) squares += value * value;
  EXPECT_GT(squares, 0.0);
}

}  // namespace
}  // namespace fledge::train
