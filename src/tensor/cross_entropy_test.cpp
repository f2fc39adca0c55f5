#include "tensor/cross_entropy.h"

#include <limits>

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// One target in the row for each row; every fifth is ignored.
Tensor some_targets(int64_t rows, int64_t columns) {
  std::vector<int32_t> targets(static_cast<size_t>(rows));
  for (size_t r = 0; r < targets.size(); ++r) {
    targets[r] = r % 5 == 3 ? -100 : static_cast<int32_t>(r * 7919 % static_cast<size_t>(columns));
  }
  return Tensor::from(targets, {rows}, arena());
}

TEST(CrossEntropy, AgreesWithPyTorchInF64) {
  const Tensor logits = make({1, 2, -1}, {1, 3}, DType::f64);
  const Tensor targets = Tensor::from(std::vector<int32_t>{1}, {1}, arena());
  const Tensor losses = Tensor::empty({1}, DType::f64, arena()), d_logits = Tensor::empty({1, 3}, DType::f64, arena());
  cross_entropy(logits, targets, losses, 1, d_logits);
  EXPECT_NEAR(losses.data<double>()[0], 0.34901221676818633, 1e-15);
  expect_close(d_logits, {0.25949646034241913, -0.29461548730175879, 0.03511902695933973}, 1e-15, 0);
}

TEST(CrossEntropy, GradientAgreesWithFiniteDifferences) {
  const Tensor logits = make_normal({6, 9}, DType::f64, 1, 0, 2), targets = some_targets(6, 9);
  const Tensor losses = Tensor::empty({6}, DType::f64, arena()), d_logits = Tensor::empty({6, 9}, DType::f64, arena());
  cross_entropy(logits, targets, losses, 0.25, d_logits);
  expect_gradient(logits, d_logits, [&] {
    cross_entropy(logits, targets, losses, 1, {});
    double sum = 0;
    for (int64_t r = 0; r < 6; ++r) sum += losses.data<double>()[r];
    return 0.25 * sum;
  });
}

TEST(CrossEntropy, AgreesWithF64) {
  constexpr int64_t kRows = 7;
  const double scale = 1.0 / 512;
  on_every_target([&] {
    for (const double center : {0.0, 500.0, -1000.0}) {
      for (const int64_t columns : {1, 2, 3, 15, 16, 17, 100, 1000, 2047, 2048, 2049, 5003}) {
        const Tensor logits = make_normal({kRows, columns}, DType::f32, 1, center, 4),
                     targets = some_targets(kRows, columns);
        const Tensor losses = Tensor::empty({kRows}, DType::f32, arena());
        const Tensor wide_losses = Tensor::empty({kRows}, DType::f64, arena());
        const Tensor wide_d = Tensor::empty(logits.shape(), DType::f64, arena());
        cross_entropy(widened(logits), targets, wide_losses, scale, wide_d);
        for (const DType dtype : {DType::f32, DType::bf16}) {
          const Tensor d_logits = Tensor::empty(logits.shape(), dtype, arena());
          cross_entropy(logits, targets, losses, scale, d_logits);
          // The sum of exponentials has a relative error under 1e-6, which its logarithm takes over as it is.
          expect_close(losses, values_of(wide_losses), 1e-6, 2e-7);
          // A probability e^-t has the rounding of t, 2^-24 t, which is greatest beside it at t = 1.
          expect_close(d_logits, values_of(wide_d), 1e-7 * scale, 2e-6);
        }
        const std::string expected = bits_of(losses);
        cross_entropy(logits, targets, losses, scale, {});
        ASSERT_EQ(bits_of(losses), expected);
        cross_entropy(logits, targets, losses, scale, logits);
        ASSERT_EQ(bits_of(losses), expected);
        expect_close(logits, values_of(wide_d), 1e-7 * scale, 2e-6);
      }
    }
  });
}

TEST(CrossEntropy, WeighsTheGradientsOfRows) {
  const Tensor logits = make_normal({5, 40}, DType::f32, 1, 0, 2), targets = some_targets(5, 40);
  const Tensor weights = make({2, -0.5, 0, 3, 0.25}, {5}, DType::f32);
  const Tensor losses = Tensor::empty({5}, DType::f32, arena()), same = Tensor::empty({5}, DType::f32, arena());
  const Tensor weighted = Tensor::empty(logits.shape(), DType::f32, arena());
  cross_entropy(logits, targets, losses, 0.5, weighted, weights);
  for (int64_t row = 0; row < 5; ++row) {
    const Tensor alone = Tensor::empty(logits.shape(), DType::f32, arena());
    cross_entropy(logits, targets, same, 0.5 * weights.data<float>()[row], alone);
    EXPECT_EQ(bits_of(weighted.slice(0, row, 1)), bits_of(alone.slice(0, row, 1))) << row;
  }
  EXPECT_EQ(bits_of(losses), bits_of(same));
}

TEST(CrossEntropy, IgnoresRowsAndMeetsExtremes) {
  on_every_target([&] {
    // Ignored: loss 0, and zeros whatever stands in the row.
    Tensor logits = make({NAN, 1, 2, 3}, {2, 2}, DType::f32);
    const Tensor losses = make({5, 5}, {2}, DType::f32), d_logits = make({9, 9, 9, 9}, {2, 2}, DType::bf16);
    cross_entropy(logits, Tensor::from(std::vector<int32_t>{-1, 0}, {2}, arena()), losses, 1, d_logits);
    EXPECT_EQ(losses.data<float>()[0], 0);
    EXPECT_EQ(values_of(d_logits)[0], 0);
    EXPECT_EQ(values_of(d_logits)[1], 0);
    EXPECT_NEAR(losses.data<float>()[1], std::log1p(std::exp(1.0)), 2e-7);

    // A NaN anywhere in a row that counts shows in its loss: the trainer stops.
    for (const int64_t columns : {3, 16, 100, 5000}) {
      for (const int64_t place : {int64_t{0}, columns / 2, columns - 1}) {
        Tensor row = make_normal({1, columns}, DType::f32, 2);
        row.data<float>()[place] = NAN;
        const Tensor loss = Tensor::empty({1}, DType::f32, arena());
        cross_entropy(row, Tensor::from(std::vector<int32_t>{1}, {1}, arena()), loss, 1, {});
        EXPECT_TRUE(std::isnan(loss.data<float>()[0])) << place << " of " << columns;
      }
    }

    // Masked logits (-infinity), a whole block of them first, have probability 0.
    std::vector<double> values(5000, -kInfinity);
    values[4100] = 1;
    values[4999] = 1;
    logits = make(values, {1, 5000}, DType::f32);
    const Tensor loss = Tensor::empty({1}, DType::f32, arena()),
                 gradient = Tensor::empty({1, 5000}, DType::f32, arena());
    cross_entropy(logits, Tensor::from(std::vector<int32_t>{4100}, {1}, arena()), loss, 1, gradient);
    EXPECT_NEAR(loss.data<float>()[0], std::log(2.0), 1e-7);
    EXPECT_EQ(gradient.data<float>()[0], 0);
    EXPECT_EQ(gradient.data<float>()[4100], -0.5f);
    EXPECT_EQ(gradient.data<float>()[4999], 0.5f);

    // Far apart, and a model that is sure: no overflow, no NaN.
    logits = make({3e38, -3e38, 0, 0, 100, 0}, {2, 3}, DType::f32);
    cross_entropy(logits, Tensor::from(std::vector<int32_t>{0, 1}, {2}, arena()), losses, 1, logits);
    EXPECT_EQ(values_of(losses), (std::vector<double>{0, 0}));
    EXPECT_TRUE(all_finite(logits));
  });
}

TEST(LogSoftmax, AgreesWithF64) {
  on_every_target([&] {
    for (const int64_t columns : {1, 3, 17, 100, 2049, 5003}) {
      const Tensor logits = make_normal({4, columns}, DType::f32, 3, 20, 4);
      const Tensor wide = Tensor::empty(logits.shape(), DType::f64, arena());
      log_softmax(widened(logits), wide);
      log_softmax(logits, logits);
      expect_close(logits, values_of(wide), 2e-6, 2e-7);
      double sum = 0;
      for (int64_t c = 0; c < columns; ++c) sum += std::exp(static_cast<double>(logits.data<float>()[c]));
      EXPECT_NEAR(sum, 1, 2e-6);
    }
  });
}

TEST(CrossEntropy, RefusesWrongOperands) {
  const Tensor logits = make_normal({2, 5}, DType::f32, 1), losses = Tensor::empty({2}, DType::f32, arena());
  const auto targets = [](int32_t a, int32_t b) { return Tensor::from(std::vector<int32_t>{a, b}, {2}, arena()); };
  EXPECT_ERROR(cross_entropy(logits, targets(4, 5), losses, 1, {}),
               "[cross_entropy] got target 5 at place 1, expected less than 5");
  EXPECT_ERROR(cross_entropy(logits, losses, losses, 1, {}), "[cross_entropy] targets: got f32 [2], expected i32");
  EXPECT_ERROR(cross_entropy(logits, targets(0, 0), losses, 1, widened(logits)), "expected f32 or bf16");
  EXPECT_ERROR(cross_entropy(make_normal({2, 5}, DType::bf16, 1), targets(0, 0), losses, 1, {}), "expected f32 or f64");
  EXPECT_ERROR(log_softmax(logits, widened(logits)), "[log_softmax] out: got f64 [2, 5], expected f32");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({2, 5}, DType::f32, nowhere), row = Tensor::empty({2}, DType::f32, nowhere);
  cross_entropy(shape, Tensor::empty({2}, DType::i32, nowhere), row, 1, shape);
  log_softmax(shape, shape);
}

}  // namespace
}  // namespace fledge::tensor
