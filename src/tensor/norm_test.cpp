#include "tensor/norm.h"

#include <algorithm>

#include "tensor/cpu/reference/norm.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

constexpr double kEpsilon = 1e-5;

TEST(LayerNorm, AgreesWithPyTorchInF64) {
  const Tensor x = make({1, 2, 4, -3}, {1, 4}, DType::f64), weight = make({1, 0.5, -2, 3}, {4}, DType::f64);
  const Tensor bias = make({0.1, 0.2, 0.3, 0.4}, {4}, DType::f64), d_out = make({1, 2, 3, 4}, {1, 4}, DType::f64);
  const Tensor out = Tensor::empty({1, 4}, DType::f64, arena()), d_x = Tensor::empty({1, 4}, DType::f64, arena());
  const Tensor mean = Tensor::empty({1}, DType::f64, arena()), rstd = Tensor::empty({1}, DType::f64, arena());
  const Tensor d_weight = Tensor::zeros({4}, DType::f64, arena()), d_bias = Tensor::zeros({4}, DType::f64, arena());
  layer_norm(x, weight, bias, 1e-5, out, mean, rstd);
  layer_norm_backward(x, weight, mean, rstd, d_out, {}, d_x, {}, d_weight, d_bias);
  // torch.nn.functional.layer_norm in torch.float64.
  expect_close(out, {0.10000000000000001, 0.39611598427979267, -2.05339181135751181, -4.30678362271502291}, 1e-15, 0);
  expect_close(d_x, {-0.392231968559585198, 0.588346444257204615, -0.196120510026313033, 6.03432869383802029e-06},
               1e-15, 0);
  expect_close(d_weight, {0, 0.78446393711917051, 3.53008771703626767, -6.27571149695336405}, 1e-14, 0);
  expect_close(d_bias, {1, 2, 3, 4}, 0, 0);
}

/// One problem in f32 with its answer in f64.
struct Forward {
  Tensor x, weight, bias, mean, rstd, wide_out, wide_mean, wide_rstd;

  Forward(int64_t rows, int64_t columns, double center, bool with_bias) {
    x = make_normal({rows, columns}, DType::f32, 1, center);
    weight = make_normal({columns}, DType::f32, 2, 1, 0.5);
    if (with_bias) bias = make_normal({columns}, DType::f32, 3);
    mean = Tensor::empty({rows}, DType::f32, arena());
    rstd = Tensor::empty({rows}, DType::f32, arena());
    answer(x);
  }

  void answer(const Tensor& input) {
    wide_out = Tensor::empty(input.shape(), DType::f64, arena());
    wide_mean = Tensor::empty({input.dim(0)}, DType::f64, arena());
    wide_rstd = Tensor::empty({input.dim(0)}, DType::f64, arena());
    layer_norm(widened(input), widened(weight), bias ? widened(bias) : bias, kEpsilon, wide_out, wide_mean, wide_rstd);
  }

  /// The mean is rounded to f32, 2^-24 of itself (and as much from sums around it). That moves a whole row of outputs
  /// by as much, times rstd and weight: the unavoidable error where the mean is large. The rest is a few roundings in
  /// f32.
  void expect_right(const Tensor& out) const {
    const int64_t columns = x.dim(1);
    for (int64_t r = 0; r < x.dim(0); ++r) {
      const double true_mean = wide_mean.data<double>()[r], true_rstd = wide_rstd.data<double>()[r];
      const double mean_error = 0x1p-24 * std::abs(true_mean) + 2e-7 / true_rstd;
      ASSERT_NEAR(mean.data<float>()[r], true_mean, mean_error);
      ASSERT_NEAR(rstd.data<float>()[r], true_rstd, 1e-6 * true_rstd);
      for (int64_t c = 0; c < columns; ++c) {
        const double expected = wide_out.data<double>()[r * columns + c];
        const double slope = std::abs(static_cast<double>(weight.data<float>()[c]));
        const double shift = bias ? std::abs(static_cast<double>(bias.data<float>()[c])) : 0;
        const double rounding = out.dtype() == DType::bf16 ? 0x1p-8 * std::abs(expected) : 0;
        const double allowed = mean_error * true_rstd * slope + 1e-6 * (std::abs(expected) + shift) + 1e-12;
        ASSERT_NEAR(cpu::reference::get(out.raw(), out.dtype(), r * columns + c), expected, allowed + rounding)
            << "row " << r << " column " << c << " of " << columns;
      }
    }
  }
};

TEST(LayerNorm, KeepsItsDigitsWhereTheMeanIsLarge) {
  on_every_target([&] {
    for (const double center : {0.0, 1000.0, -30.0}) {
      for (const int64_t columns : odd_lengths()) {
        for (const DType activation : {DType::f32, DType::bf16}) {
          for (const bool with_bias : {true, false}) {
            if (columns == 0) continue;
            Forward f(3, columns, center, with_bias);
            const Tensor out = Tensor::empty(f.x.shape(), activation, arena());
            layer_norm(f.x, f.weight, f.bias, kEpsilon, out, f.mean, f.rstd);
            f.expect_right(out);

            // The statistics are not needed, and the repetition has the same bits.
            const Tensor other = Tensor::empty(f.x.shape(), activation, arena());
            layer_norm(f.x, f.weight, f.bias, kEpsilon, other, {}, {});
            ASSERT_EQ(bits_of(other), bits_of(out));
            fill(other, 0);
            layer_norm_again(f.x, f.mean, f.rstd, f.weight, f.bias, other);
            ASSERT_EQ(bits_of(other), bits_of(out));
          }
        }
      }
    }
  });
}

TEST(LayerNorm, NormalizesASum) {
  on_every_target([&] {
    for (const int64_t columns : {1, 17, 64, 100, 1000}) {
      for (const DType activation : {DType::f32, DType::bf16}) {
        Forward f(5, columns, 3, true);
        const Tensor delta = make_normal(f.x.shape(), activation, 9);
        const Tensor sum = Tensor::empty(f.x.shape(), DType::f32, arena());
        add(f.x, delta, sum);
        f.answer(sum);
        const std::string expected_sum = bits_of(sum);
        fill(sum, 0);
        const Tensor out = Tensor::empty(f.x.shape(), activation, arena());
        add_layer_norm(f.x, delta, f.weight, f.bias, kEpsilon, sum, out, f.mean, f.rstd);
        ASSERT_EQ(bits_of(sum), expected_sum);
        f.expect_right(out);
        const std::string expected = bits_of(out);
        add_layer_norm(f.x, delta, f.weight, f.bias, kEpsilon, f.x, out, f.mean, f.rstd);
        ASSERT_EQ(bits_of(f.x), expected_sum);
        ASSERT_EQ(bits_of(out), expected);
      }
    }
  });
  const Tensor x = make_normal({4, 6}, DType::f64, 1), delta = make_normal({4, 6}, DType::f64, 2);
  const Tensor weight = make_normal({6}, DType::f64, 3), out = Tensor::empty({4, 6}, DType::f64, arena());
  const Tensor sum = Tensor::empty({4, 6}, DType::f64, arena()), other = Tensor::empty({4, 6}, DType::f64, arena());
  add_layer_norm(x, delta, weight, {}, kEpsilon, sum, out, {}, {});
  layer_norm(sum, weight, {}, kEpsilon, other, {}, {});
  EXPECT_EQ(bits_of(out), bits_of(other));
  EXPECT_EQ(sum.data<double>()[7], x.data<double>()[7] + delta.data<double>()[7]);
}

TEST(LayerNormBackward, AgreesWithFiniteDifferences) {
  const Tensor x = make_normal({3, 7}, DType::f64, 1, 0.5), weight = make_normal({7}, DType::f64, 2);
  const Tensor bias = make_normal({7}, DType::f64, 3), d_out = make_normal({3, 7}, DType::f64, 4);
  const Tensor residual = make_normal({3, 7}, DType::f64, 5);
  const Tensor mean = Tensor::empty({3}, DType::f64, arena()), rstd = Tensor::empty({3}, DType::f64, arena());
  const Tensor out = Tensor::empty({3, 7}, DType::f64, arena()), d_x = Tensor::empty({3, 7}, DType::f64, arena());
  const Tensor copied = Tensor::empty({3, 7}, DType::f64, arena());
  const Tensor d_weight = Tensor::zeros({7}, DType::f64, arena()), d_bias = Tensor::zeros({7}, DType::f64, arena());
  const auto loss = [&] {
    layer_norm(x, weight, bias, kEpsilon, out, mean, rstd);
    return dot(out, d_out) + dot(x, residual);
  };
  loss();
  layer_norm_backward(x, weight, mean, rstd, d_out, residual, d_x, copied, d_weight, d_bias);
  expect_gradient(x, d_x, loss);
  expect_gradient(weight, d_weight, loss);
  expect_gradient(bias, d_bias, loss);
  EXPECT_EQ(bits_of(copied), bits_of(d_x));
}

TEST(LayerNormBackward, AgreesWithF64) {
  on_every_target([&] {
    for (const int64_t columns : odd_lengths()) {
      if (columns == 0) continue;
      for (const DType activation : {DType::f32, DType::bf16}) {
        for (const bool with_residual : {false, true}) {
          constexpr int64_t kRows = 70;  // two blocks of rows
          Forward f(kRows, columns, 0.5, false);
          const Tensor out = Tensor::empty(f.x.shape(), activation, arena());
          layer_norm(f.x, f.weight, {}, kEpsilon, out, f.mean, f.rstd);
          const Tensor d_out = make_normal(f.x.shape(), activation, 4);
          const Tensor residual = with_residual ? make_normal(f.x.shape(), DType::f32, 5) : Tensor();
          const Tensor d_x = Tensor::empty(f.x.shape(), DType::f32, arena());
          const Tensor rounded = Tensor::empty(f.x.shape(), activation, arena());
          const Tensor d_weight = make_normal({columns}, DType::f32, 6), d_bias = make_normal({columns}, DType::f32, 7);
          const Tensor wide_d_weight = widened(d_weight), wide_d_bias = widened(d_bias);
          const Tensor wide_d_x = Tensor::empty(f.x.shape(), DType::f64, arena());
          layer_norm_backward(f.x, f.weight, f.mean, f.rstd, d_out, residual, d_x, rounded, d_weight, d_bias);
          layer_norm_backward(widened(f.x), widened(f.weight), widened(f.mean), widened(f.rstd), widened(d_out),
                              with_residual ? widened(residual) : residual, wide_d_x, {}, wide_d_weight, wide_d_bias);

          // Each of g, mean(g) and n mean(g n) has a few roundings in f32; |n| is at most about sqrt(C).
          const auto wide_x = values_of(f.x), incoming = values_of(d_out);
          std::vector<double> weight_sizes(static_cast<size_t>(columns)), bias_sizes(weight_sizes);
          for (int64_t r = 0; r < kRows; ++r) {
            const double mean = f.mean.data<float>()[r], rstd = f.rstd.data<float>()[r];
            double largest_g = 0, largest_n = 0;
            for (int64_t c = 0; c < columns; ++c) {
              const auto i = static_cast<size_t>(r * columns + c), column = static_cast<size_t>(c);
              const double n = (wide_x[i] - mean) * rstd;
              largest_g = std::max(largest_g, std::abs(incoming[i] * static_cast<double>(f.weight.data<float>()[c])));
              largest_n = std::max(largest_n, std::abs(n));
              weight_sizes[column] += std::abs(incoming[i] * n);
              bias_sizes[column] += std::abs(incoming[i]);
            }
            for (int64_t c = 0; c < columns; ++c) {
              const double extra = with_residual ? std::abs(residual.data<float>()[r * columns + c]) : 0;
              ASSERT_NEAR(d_x.data<float>()[r * columns + c], wide_d_x.data<double>()[r * columns + c],
                          5e-7 * (rstd * largest_g * (2 + largest_n * largest_n) + extra))
                  << r << " " << c << " of " << columns;
            }
          }
          // At most 64 + 2 additions in f32.
          for (int64_t c = 0; c < columns; ++c) {
            const auto column = static_cast<size_t>(c);
            ASSERT_NEAR(d_weight.data<float>()[c], wide_d_weight.data<double>()[c],
                        70 * 0x1p-24 * (1 + weight_sizes[column]));
            ASSERT_NEAR(d_bias.data<float>()[c], wide_d_bias.data<double>()[c],
                        70 * 0x1p-24 * (1 + bias_sizes[column]));
          }
          const Tensor expected = Tensor::empty(f.x.shape(), activation, arena());
          copy(d_x, expected);
          ASSERT_EQ(bits_of(rounded), bits_of(expected));
        }
      }
    }
  });
}

TEST(LayerNormBackward, WorksInPlaceAndIndependentOfThreads) {
  constexpr int64_t kRows = 1000, kColumns = 96;
  Forward f(kRows, kColumns, 0, false);
  const Tensor out = Tensor::empty(f.x.shape(), DType::bf16, arena());
  layer_norm(f.x, f.weight, {}, kEpsilon, out, f.mean, f.rstd);
  const Tensor d_out = make_normal(f.x.shape(), DType::bf16, 4), residual = make_normal(f.x.shape(), DType::f32, 5);
  const Tensor d_x = Tensor::empty(f.x.shape(), DType::f32, arena());
  const Tensor d_weight = Tensor::zeros({kColumns}, DType::f32, arena());
  layer_norm_backward(f.x, f.weight, f.mean, f.rstd, d_out, residual, d_x, {}, d_weight, {});
  with_thread_counts([&] {
    const Tensor both = Tensor::empty(f.x.shape(), DType::f32, arena());
    const Tensor sums = Tensor::zeros({kColumns}, DType::f32, arena());
    copy(residual, both);
    layer_norm_backward(f.x, f.weight, f.mean, f.rstd, d_out, both, both, {}, sums, {});
    EXPECT_EQ(bits_of(both), bits_of(d_x));
    EXPECT_EQ(bits_of(sums), bits_of(d_weight));
  });
}

TEST(LayerNorm, RefusesWrongOperands) {
  const Tensor x = make_normal({4, 6}, DType::f32, 1), weight = make_normal({6}, DType::f32, 2);
  const Tensor out = Tensor::empty({4, 6}, DType::bf16, arena()), rows = Tensor::empty({4}, DType::f32, arena());
  EXPECT_ERROR(layer_norm(x, rows, {}, 1e-5, out, {}, {}), "[layer_norm] weight: got f32 [4], expected [6]");
  EXPECT_ERROR(layer_norm(x, weight, rows, 1e-5, out, {}, {}), "[layer_norm] bias: got f32 [4], expected [6]");
  EXPECT_ERROR(layer_norm(weight, weight, {}, 1e-5, out, {}, {}), "[layer_norm] x: got f32 [6], expected a matrix");
  EXPECT_ERROR(layer_norm(x, weight, {}, 1e-5, widened(x), {}, {}), "[layer_norm] out: got f64 [4, 6], expected f32");
  EXPECT_ERROR(layer_norm(x.transpose(0, 1), rows, {}, 1e-5, out, {}, {}), "expected a contiguous tensor");
  EXPECT_ERROR(layer_norm_again(x, {}, rows, weight, {}, out), "no mean");
  EXPECT_ERROR(add_layer_norm(x, x, weight, {}, 1e-5, x, out, {}, {}),
               "[add_layer_norm] delta: got f32 [4, 6], expected bf16");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({4, 6}, DType::f32, nowhere), row = Tensor::empty({6}, DType::f32, nowhere);
  layer_norm(shape, row, row, 1e-5, shape, {}, {});
  EXPECT_ERROR(layer_norm(shape, row, shape, 1e-5, shape, {}, {}), "[layer_norm] bias");
  const Tensor none = Tensor::empty({0, 6}, DType::f32, arena());
  layer_norm(none, weight, {}, 1e-5, none, {}, {});
}

}  // namespace
}  // namespace fledge::tensor
