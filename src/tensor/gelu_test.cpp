#include "tensor/gelu.h"

#include "tensor/cpu/reference/gelu.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

const std::vector<Activation>& forms() {
  static const std::vector<Activation> both = {Activation::gelu_exact, Activation::gelu_tanh};
  return both;
}

TEST(Gelu, AgreesWithPyTorchInF64) {
  const Tensor x = make({-3, -0.5, 0, 1, 2.5}, {5}, DType::f64), ones = make({1, 1, 1, 1, 1}, {5}, DType::f64);
  const Tensor out = Tensor::empty({5}, DType::f64, arena()), d_x = Tensor::empty({5}, DType::f64, arena());
  gelu(x, Activation::gelu_exact, out);
  // PyTorch adds erf to 1, which loses digits at -3.
  expect_close(out, {-0.00404969409489031, -0.15426876936299344, 0.0, 0.841344746068543, 2.4844758366855597}, 1e-16,
               1e-15);
  gelu_backward(x, Activation::gelu_exact, ones, d_x, {});
  expect_close(d_x, {-0.01194564720418392, 0.13250487534383712, 0.5, 1.0833154705876864, 1.037611085908145}, 0, 1e-14);
  gelu(x, Activation::gelu_tanh, out);
  // PyTorch adds tanh(u) to 1, which loses digits at -3.
  expect_close(out, {-0.0036373920817729943, -0.15428599017485606, 0.0, 0.8411919906082768, 2.484915733910001}, 1e-15,
               1e-15);
  gelu_backward(x, Activation::gelu_tanh, ones, d_x, {});
  expect_close(d_x, {-0.011584166630969648, 0.13263009646535764, 0.5, 1.0829640838457826, 1.037951576212666}, 1e-15,
               1e-14);
}

TEST(Gelu, BackwardAgreesWithFiniteDifferences) {
  for (const Activation form : forms()) {
    const Tensor x = make_normal({50}, DType::f64, 1, 0, 2), d_out = make_normal({50}, DType::f64, 2);
    const Tensor out = Tensor::empty({50}, DType::f64, arena()), d_x = Tensor::empty({50}, DType::f64, arena());
    const Tensor again = Tensor::empty({50}, DType::f64, arena());
    gelu(x, form, out);
    gelu_backward(x, form, d_out, d_x, again);
    EXPECT_EQ(bits_of(again), bits_of(out));
    expect_gradient(x, d_x, [&] {
      gelu(x, form, out);
      return dot(out, d_out);
    });
  }
}

TEST(Gelu, IsAccurateEverywhereInF32) {
  std::vector<double> values;
  for (int i = -20000; i <= 20000; ++i) values.push_back(i * 0.00075);
  for (const double size : {1e-30, 1e-7, 1e-3, 20.0, 100.0, 1e4, 1e10}) {
    values.push_back(size);
    values.push_back(-size);
  }
  const auto count = static_cast<int64_t>(values.size());
  const Tensor x = make(values, {count}, DType::f32),
               ones = make(std::vector<double>(values.size(), 1), {count}, DType::f32);
  const Tensor out = Tensor::empty({count}, DType::f32, arena()), d_x = Tensor::empty({count}, DType::f32, arena());
  for (const Activation form : forms()) {
    const Tensor true_out = Tensor::empty({count}, DType::f64, arena());
    const Tensor true_d_x = Tensor::empty({count}, DType::f64, arena());
    gelu_backward(widened(x), form, widened(ones), true_d_x, true_out);
    on_every_target([&] {
      gelu(x, form, out);
      expect_close(out, values_of(true_out), 2e-7, 1e-6);
      gelu_backward(x, form, ones, d_x, {});
      // Phi and x Phi' have two more roundings, of terms up to 1.2.
      expect_close(d_x, values_of(true_d_x), 4e-7, 1e-6);
    });
  }
  on_every_target([&] {
    for (const Activation form : forms()) {
      const Tensor bad = make({NAN, 1}, {2}, DType::f32);
      gelu(bad, form, bad);
      EXPECT_TRUE(std::isnan(bad.data<float>()[0]));
      EXPECT_FALSE(std::isnan(bad.data<float>()[1]));
    }
  });
}

TEST(Gelu, HandlesOddLengthsBothTypesAndItsOwnMemory) {
  on_every_target([&] {
    for (const Activation form : forms()) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const int64_t count : odd_lengths()) {
          const Tensor x = make_normal({count}, dtype, 3, 0, 2), d_out = make_normal({count}, dtype, 4);
          const Tensor true_out = Tensor::empty({count}, DType::f64, arena());
          const Tensor true_d_x = Tensor::empty({count}, DType::f64, arena());
          gelu_backward(widened(x), form, widened(d_out), true_d_x, true_out);
          const Tensor out = Tensor::empty({count}, dtype, arena()), again = Tensor::empty({count}, dtype, arena());
          gelu(x, form, out);
          expect_close(out, values_of(true_out), 2e-7, 1e-6);
          gelu_backward(x, form, d_out, d_out, again);
          expect_close(d_out, values_of(true_d_x), 2e-6, 1e-6);
          ASSERT_EQ(bits_of(again), bits_of(out));
          gelu(x, form, x);
          ASSERT_EQ(bits_of(x), bits_of(out));
        }
      }
    }
  });
}

TEST(Gelu, RefusesWrongOperands) {
  const Tensor x = make_normal({4, 6}, DType::bf16, 1);
  EXPECT_ERROR(gelu(x, Activation::none, x), "[gelu] got no activation");
  EXPECT_ERROR(gelu(x, Activation::gelu_tanh, make_normal({4, 6}, DType::f32, 1)),
               "[gelu] out: got f32 [4, 6], expected bf16");
  EXPECT_ERROR(gelu_backward(x, Activation::gelu_tanh, make_normal({4, 5}, DType::bf16, 1), x, {}),
               "[gelu_backward] d_out: got bf16 [4, 5], expected [4, 6]");
  EXPECT_ERROR(gelu(x.transpose(0, 1), Activation::gelu_tanh, x), "expected a contiguous tensor");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({4, 6}, DType::f32, nowhere);
  gelu(shape, Activation::gelu_exact, shape);
  gelu_backward(shape, Activation::gelu_exact, shape, shape, shape);
}

}  // namespace
}  // namespace fledge::tensor
