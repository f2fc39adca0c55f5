#include "tensor/distillation_loss.h"

#include <limits>

#include "tensor/cross_entropy.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

DistillationRows results(int64_t rows, DType type) {
  const auto make = [&] { return Tensor::empty({rows}, type, arena()); };
  return {make(), make(), make(), make()};
}

Tensor some_targets(int64_t rows, int64_t columns) {
  std::vector<int32_t> targets(static_cast<size_t>(rows));
  for (size_t r = 0; r < targets.size(); ++r) {
    targets[r] = r % 5 == 3 ? -100 : static_cast<int32_t>(r * 7919 % static_cast<size_t>(columns));
  }
  return Tensor::from(targets, {rows}, arena());
}

TEST(DistillationLoss, AgreesWithF64) {
  constexpr int64_t kRows = 7;
  const double scale = 1.0 / 512;
  on_every_target([&] {
    for (const bool reverse : {false, true}) {
      for (const double temperature : {1.0, 2.0}) {
        for (const int64_t columns : {1, 2, 3, 15, 16, 17, 100, 2047, 2049, 5003}) {
          const DistillationSettings settings{0.7, temperature, reverse};
          const Tensor student = make_normal({kRows, columns}, DType::f32, 1, 3, 4),
                       teacher = make_normal({kRows, columns}, DType::f32, 2, -5, 4),
                       targets = some_targets(kRows, columns);
          const DistillationRows rows = results(kRows, DType::f32), wide = results(kRows, DType::f64);
          const Tensor wide_d = Tensor::empty(student.shape(), DType::f64, arena());
          distillation_loss(widened(student), widened(teacher), targets, settings, scale, wide, wide_d);
          for (const DType dtype : {DType::f32, DType::bf16}) {
            const Tensor d_student = Tensor::empty(student.shape(), dtype, arena());
            distillation_loss(student, teacher, targets, settings, scale, rows, d_student);
            expect_close(rows.cross_entropies, values_of(wide.cross_entropies), 1e-6, 2e-7);
            // A log-ratio has the rounding of its exponents, up to 2^-24 times their size of about 20.
            expect_close(rows.divergences, values_of(wide.divergences), 3e-6, 1e-6);
            EXPECT_EQ(values_of(rows.agreements), values_of(wide.agreements));
            // A probability has that relative rounding too, and log-ratios multiply it.
            expect_close(d_student, values_of(wide_d), (reverse ? 4e-6 : 1e-6) * scale * temperature, 4e-6);
          }
          // In place, as a caller that needs the logits no longer does it.
          distillation_loss(student, teacher, targets, settings, scale, rows, student);
          expect_close(student, values_of(wide_d), (reverse ? 4e-6 : 1e-6) * scale * temperature, 4e-6);
        }
      }
    }
  });
}

TEST(DistillationLoss, TopOfAllTokensIsTheWholeTeacher) {
  constexpr int64_t kRows = 6, kColumns = 9;
  for (const bool reverse : {false, true}) {
    const DistillationSettings settings{0.7, 2.0, reverse};
    const Tensor student = make_normal({kRows, kColumns}, DType::f32, 1, 0, 2),
                 teacher = make_normal({kRows, kColumns}, DType::f32, 2, 0, 2), targets = some_targets(kRows, kColumns);
    const DistillationRows whole = results(kRows, DType::f32), top = results(kRows, DType::f32);
    const Tensor d_whole = Tensor::empty(student.shape(), DType::f32, arena()),
                 d_top = Tensor::empty(student.shape(), DType::f32, arena());
    distillation_loss(student, teacher, targets, settings, 1, whole, d_whole);
    const Tensor halved = Tensor::empty(teacher.shape(), DType::f32, arena());
    copy(teacher, halved);
    tensor::scale(halved, 0.5);
    log_softmax(halved, halved);
    std::vector<int32_t> ids;
    for (int64_t r = 0; r < kRows; ++r) {
      std::vector<int32_t> order(kColumns);
      for (int32_t c = 0; c < kColumns; ++c) order[static_cast<size_t>(c)] = c;
      const float* row = halved.data<float>() + r * kColumns;
      std::ranges::sort(order, [&](int32_t a, int32_t b) { return row[a] > row[b]; });
      ids.insert(ids.end(), order.begin(), order.end());
    }
    std::vector<float> log_probabilities;
    for (size_t place = 0; place < ids.size(); ++place) {
      log_probabilities.push_back(halved.data<float>()[place / kColumns * kColumns + static_cast<size_t>(ids[place])]);
    }
    distillation_loss(student, Tensor::from(ids, {kRows, kColumns}, arena()),
                      Tensor::from(log_probabilities, {kRows, kColumns}, arena()), targets, settings, 1, top, d_top);
    expect_close(top.divergences, values_of(whole.divergences), 1e-6, 1e-6);
    expect_close(top.losses, values_of(whole.losses), 4e-6, 1e-6);
    EXPECT_EQ(values_of(top.agreements), values_of(whole.agreements));
    expect_close(d_top, values_of(d_whole), 2e-6, 2e-6);
  }
}

TEST(DistillationLoss, MeetsExtremes) {
  on_every_target([&] {
    constexpr double kMasked = -std::numeric_limits<double>::infinity();
    // Both mask the same tokens; the student is sure, then the teacher is.
    const Tensor student = make({100, 0, kMasked, 0, 0, kMasked}, {2, 3}, DType::f32),
                 teacher = make({0, 0, kMasked, 0, 100, kMasked}, {2, 3}, DType::f32);
    const Tensor targets = Tensor::from(std::vector<int32_t>{0, 1}, {2}, arena());
    for (const bool reverse : {false, true}) {
      const DistillationRows rows = results(2, DType::f32);
      const Tensor gradient = Tensor::empty({2, 3}, DType::f32, arena());
      distillation_loss(student, teacher, targets, {0.5, 1.0, reverse}, 1, rows, gradient);
      EXPECT_TRUE(all_finite(gradient));
      const double sure = std::log(2.0), wrong = 50 - std::log(2.0);
      EXPECT_NEAR(values_of(rows.divergences)[0], reverse ? sure : wrong, 1e-5);
      EXPECT_NEAR(values_of(rows.divergences)[1], reverse ? wrong : sure, 1e-5);
    }
    // A NaN of either shows in the loss: the trainer stops.
    for (const bool of_teacher : {false, true}) {
      Tensor a = make_normal({1, 100}, DType::f32, 2), b = make_normal({1, 100}, DType::f32, 3);
      (of_teacher ? b : a).data<float>()[37] = NAN;
      const DistillationRows rows = results(1, DType::f32);
      distillation_loss(a, b, Tensor::from(std::vector<int32_t>{1}, {1}, arena()), {}, 1, rows, {});
      EXPECT_TRUE(std::isnan(rows.losses.data<float>()[0]));
    }
  });
}

TEST(DistillationLoss, RefusesWrongOperands) {
  const Tensor logits = make_normal({2, 5}, DType::f32, 1);
  const DistillationRows rows = results(2, DType::f32);
  const auto integers = [](std::vector<int32_t> values, const Shape& shape) {
    return Tensor::from(values, shape, arena());
  };
  EXPECT_ERROR(distillation_loss(logits, logits, integers({4, 5}, {2}), {}, 1, rows, {}),
               "a target: got 5 at place 1, expected less than 5");
  EXPECT_ERROR(distillation_loss(logits, make_normal({2, 6}, DType::f32, 1), integers({0, 0}, {2}), {}, 1, rows, {}),
               "[distillation_loss] teacher: got");
  EXPECT_ERROR(distillation_loss(logits, integers({0, 9}, {2, 1}), make({0, 0}, {2, 1}, DType::f32),
                                 integers({0, 0}, {2}), {}, 1, rows, {}),
               "an id: got 9 at place 1, expected less than 5");
}

}  // namespace
}  // namespace fledge::tensor
