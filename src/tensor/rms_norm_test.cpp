#include "tensor/rms_norm.h"

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

constexpr double kEpsilon = 1e-5;

Tensor empty(const Shape& shape, DType dtype) {
  return Tensor::empty(shape, dtype, arena());
}

/// The heads [first, first + count) of packed rows [R, H C] as [R, count, C].
Tensor heads_of(const Tensor& packed, int64_t first, int64_t count, int64_t columns) {
  return packed.reshape({packed.dim(0), -1, columns}).slice(1, first, count);
}

TEST(RmsNorm, AgreesWithPyTorchInF64) {
  const Tensor x = make({1, 2, 4, -3}, {1, 4}, DType::f64), weight = make({1, 0.5, -2, 3}, {4}, DType::f64);
  const Tensor d_out = make({1, 2, 3, 4}, {1, 4}, DType::f64), out = empty({1, 4}, DType::f64);
  const Tensor d_x = empty({1, 4}, DType::f64), rstd = empty({1}, DType::f64);
  const Tensor d_weight = Tensor::zeros({4}, DType::f64, arena());
  rms_norm(x, weight, kEpsilon, out, rstd);
  rms_norm_backward(x, weight, rstd, d_out, {}, d_x, {}, d_weight);
  // torch.nn.functional.rms_norm in torch.float64.
  expect_close(out, {0.3651481282381064, 0.3651481282381064, -2.921185025904851, -3.2863331541429575}, 1e-15, 1e-15);
  expect_close(d_x, {1.0589286468498171, 1.7527091654615277, 0.5842333050182043, 2.300435983022145}, 1e-14, 1e-14);
  expect_close(d_weight, {0.3651481282381064, 1.4605925129524255, 4.381777538857277, -4.381777538857277}, 1e-14, 1e-14);
}

TEST(RmsNorm, IsAccurateForAllTypesAndSizes) {
  on_every_target([&] {
    for (const int64_t columns : odd_lengths()) {
      if (columns == 0) continue;
      for (const DType type : {DType::f32, DType::bf16}) {
        for (const DType activation : {DType::f32, DType::bf16}) {
          const Tensor x = make_normal({3, columns}, type, 1, 0.5, 3), weight = make_normal({columns}, DType::f32, 2);
          const Tensor out = empty(x.shape(), activation), rstd = empty({3}, DType::f32);
          const Tensor wide_out = empty(x.shape(), DType::f64), wide_rstd = empty({3}, DType::f64);
          rms_norm(x, weight, kEpsilon, out, rstd);
          rms_norm(widened(x), widened(weight), kEpsilon, wide_out, wide_rstd);
          // A mean of squares, a root, a division and two products: a few roundings.
          expect_close(rstd, values_of(wide_rstd), 0, 5e-7);
          expect_close(out, values_of(wide_out), 0, 1e-6);

          // The statistics are not needed, the repetition has the same bits, and so has a result in x's own memory.
          const std::string bits = bits_of(out);
          fill(out, 0);
          rms_norm(x, weight, kEpsilon, out, {});
          ASSERT_EQ(bits_of(out), bits);
          fill(out, 0);
          rms_norm_again(x, rstd, weight, out);
          ASSERT_EQ(bits_of(out), bits);
          if (type != activation) continue;
          rms_norm(x, weight, kEpsilon, x, {});
          ASSERT_EQ(bits_of(x), bits);
        }
      }
    }
  });
}

TEST(RmsNorm, NormalizesSomeHeadsOfPackedRows) {
  constexpr int64_t kRows = 70, kHeads = 5, kColumns = 9;  // two blocks of rows
  on_every_target([&] {
    for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
      const DType p = type == DType::f64 ? DType::f64 : DType::f32;
      const Tensor x = make_normal({kRows, kHeads * kColumns}, type, 1), weight = make_normal({kColumns}, p, 2);
      const Tensor d_out = make_normal(x.shape(), type, 3), out = make_normal(x.shape(), type, 4);
      const Tensor d_x = make_normal(x.shape(), type, 5), rstd = empty({kRows, 3}, p);
      const Tensor d_weight = make_normal({kColumns}, p, 6), one_d_weight = make_normal({kColumns}, p, 6);
      rms_norm(heads_of(x, 1, 3, kColumns), weight, kEpsilon, heads_of(out, 1, 3, kColumns), rstd);
      rms_norm_backward(heads_of(x, 1, 3, kColumns), weight, rstd, heads_of(d_out, 1, 3, kColumns), {},
                        heads_of(d_x, 1, 3, kColumns), {}, d_weight);

      // The same heads as contiguous rows; what stands beside them is untouched.
      const auto rows = [&](const Tensor& packed) {
        const Tensor copied = empty({kRows, 3, kColumns}, type);
        copy(heads_of(packed, 1, 3, kColumns), copied);
        return copied.reshape({kRows * 3, kColumns});
      };
      const Tensor row_out = empty({kRows * 3, kColumns}, type), row_d_x = empty({kRows * 3, kColumns}, type);
      const Tensor row_rstd = empty({kRows * 3}, p);
      rms_norm(rows(x), weight, kEpsilon, row_out, row_rstd);
      rms_norm_backward(rows(x), weight, row_rstd, rows(d_out), {}, row_d_x, {}, one_d_weight);
      ASSERT_EQ(bits_of(rows(out)), bits_of(row_out));
      ASSERT_EQ(bits_of(rows(d_x)), bits_of(row_d_x));
      ASSERT_EQ(bits_of(rstd), bits_of(row_rstd));
      // Blocks of rows are other blocks here: sums of 210 terms of size 1 in another order.
      expect_close(d_weight, values_of(one_d_weight), p == DType::f64 ? 1e-12 : 2e-5, 0);
      const Tensor before = make_normal(x.shape(), type, 4);
      for (int64_t r = 0; r < kRows; ++r) {
        for (const int64_t h : {0, 4}) {
          for (int64_t c = 0; c < kColumns; ++c) {
            const int64_t i = (r * kHeads + h) * kColumns + c;
            ASSERT_EQ(cpu::reference::get(out.raw(), type, i), cpu::reference::get(before.raw(), type, i));
          }
        }
      }
    }
  });
}

TEST(RmsNormBackward, AgreesWithFiniteDifferences) {
  const Tensor x = make_normal({3, 7}, DType::f64, 1, 0.5), weight = make_normal({7}, DType::f64, 2);
  const Tensor d_out = make_normal({3, 7}, DType::f64, 4), residual = make_normal({3, 7}, DType::f64, 5);
  const Tensor rstd = empty({3}, DType::f64), out = empty({3, 7}, DType::f64), d_x = empty({3, 7}, DType::f64);
  const Tensor copied = empty({3, 7}, DType::f64), d_weight = Tensor::zeros({7}, DType::f64, arena());
  const auto loss = [&] {
    rms_norm(x, weight, kEpsilon, out, rstd);
    return dot(out, d_out) + dot(x, residual);
  };
  loss();
  rms_norm_backward(x, weight, rstd, d_out, residual, d_x, copied, d_weight);
  expect_gradient(x, d_x, loss);
  expect_gradient(weight, d_weight, loss);
  EXPECT_EQ(bits_of(copied), bits_of(d_x));
}

TEST(RmsNormBackward, AgreesWithF64) {
  constexpr int64_t kRows = 70;  // two blocks of rows
  on_every_target([&] {
    for (const int64_t columns : odd_lengths()) {
      if (columns == 0) continue;
      for (const DType activation : {DType::f32, DType::bf16}) {
        for (const bool with_residual : {false, true}) {
          const Tensor x = make_normal({kRows, columns}, DType::f32, 1, 0.5);
          const Tensor weight = make_normal({columns}, DType::f32, 2), rstd = empty({kRows}, DType::f32);
          const Tensor out = empty(x.shape(), activation), d_out = make_normal(x.shape(), activation, 4);
          const Tensor residual = with_residual ? make_normal(x.shape(), DType::f32, 5) : Tensor();
          const Tensor d_x = empty(x.shape(), DType::f32), rounded = empty(x.shape(), activation);
          const Tensor d_weight = make_normal({columns}, DType::f32, 6), wide_d_weight = widened(d_weight);
          const Tensor wide_d_x = empty(x.shape(), DType::f64);
          rms_norm(x, weight, kEpsilon, out, rstd);
          rms_norm_backward(x, weight, rstd, d_out, residual, d_x, rounded, d_weight);
          rms_norm_backward(widened(x), widened(weight), widened(rstd), widened(d_out),
                            with_residual ? widened(residual) : residual, wide_d_x, {}, wide_d_weight);
          // rstd is at most about 1/|x| where C is 1, and there the two terms cancel: the error is that of the terms.
          double largest = 1;
          for (const double r : values_of(rstd)) largest = std::max(largest, r);
          expect_close(d_x, values_of(wide_d_x), 1e-5 * largest, 1e-6);
          expect_close(d_weight, values_of(wide_d_weight), 2e-5 * std::sqrt(static_cast<double>(columns)), 1e-6);
          const Tensor narrow = empty(x.shape(), activation);
          copy(d_x, narrow);
          ASSERT_EQ(bits_of(rounded), bits_of(narrow));
        }
      }
    }
  });
}

TEST(RmsNormBackward, DoesNotDependOnThreads) {
  const Tensor x = make_normal({300, 65}, DType::f32, 1), weight = make_normal({65}, DType::f32, 2);
  const Tensor d_out = make_normal({300, 65}, DType::f32, 3), rstd = empty({300}, DType::f32);
  std::string expected;
  with_thread_counts([&] {
    const Tensor out = empty(x.shape(), DType::f32), d_x = empty(x.shape(), DType::f32);
    const Tensor d_weight = Tensor::zeros({65}, DType::f32, arena());
    rms_norm(x, weight, kEpsilon, out, rstd);
    rms_norm_backward(x, weight, rstd, d_out, {}, d_x, {}, d_weight);
    const std::string bits = bits_of(out) + bits_of(d_x) + bits_of(d_weight);
    if (expected.empty()) expected = bits;
    EXPECT_EQ(bits, expected);
  });
}

TEST(RmsNorm, RefusesWrongOperandsAndLeavesEmptyOnesAlone) {
  const Tensor x = make_normal({4, 6}, DType::f32, 1), weight = make_normal({6}, DType::f32, 2);
  EXPECT_ERROR(rms_norm(x, make_normal({5}, DType::f32, 2), 1e-5, x, {}), "[rms_norm] weight: got f32 [5]");
  EXPECT_ERROR(rms_norm(x, weight, 1e-5, make_normal({4, 5}, DType::f32, 1), {}), "[rms_norm] out: got f32 [4, 5]");
  EXPECT_ERROR(rms_norm(x.transpose(0, 1), make_normal({4}, DType::f32, 2), 1e-5, x, {}), "contiguous last dimension");
  EXPECT_ERROR(rms_norm(make_normal({6}, DType::f32, 1), weight, 1e-5, x, {}), "expected rows [R, C]");
  EXPECT_ERROR(rms_norm_again(x, {}, weight, x), "no rstd");
  EXPECT_ERROR(rms_norm_backward(x, weight, {}, x, {}, x, {}, {}), "no rstd");
  rms_norm(empty({0, 6}, DType::f32), weight, 1e-5, empty({0, 6}, DType::bf16), {});
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({4, 6}, DType::f32, nowhere), rows = Tensor::empty({4}, DType::f32, nowhere);
  const Tensor line = Tensor::empty({6}, DType::f32, nowhere);
  rms_norm(shape, line, 1e-5, shape, rows);
  rms_norm_backward(shape, line, rows, shape, {}, shape, {}, line);
}

}  // namespace
}  // namespace fledge::tensor
