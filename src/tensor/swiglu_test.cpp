#include "tensor/swiglu.h"

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

Tensor empty(const Shape& shape, DType dtype) {
  return Tensor::empty(shape, dtype, arena());
}

TEST(SwiGlu, AgreesWithPyTorchInF64) {
  const Tensor gate = make({-3, -0.5, 0, 1, 2.5}, {1, 5}, DType::f64), up = make({1, 2, 3, -4, 5}, {1, 5}, DType::f64);
  const Tensor d_out = make({1, 1, 1, 2, -1}, {1, 5}, DType::f64), out = empty({1, 5}, DType::f64);
  const Tensor d_gate = empty({1, 5}, DType::f64), d_up = empty({1, 5}, DType::f64);
  swiglu(gate, up, out);
  swiglu_backward(gate, up, d_out, d_gate, d_up);
  expect_close(out, {-0.14227761953270035, -0.3775406687981454, 0.0, -2.9242343145200196, 11.551772749734457}, 1e-16,
               1e-15);
  expect_close(d_gate, {-0.08810410601516962, 0.5200776253946964, 1.5, -7.421364094971895, -5.4970055567076335}, 1e-15,
               1e-14);
  expect_close(d_up, {-0.14227761953270035, -0.1887703343990727, 0.0, 1.4621171572600098, -2.3103545499468914}, 1e-16,
               1e-15);
}

TEST(SwiGlu, BackwardAgreesWithFiniteDifferences) {
  const Tensor gate = make_normal({4, 9}, DType::f64, 1, 0, 2), up = make_normal({4, 9}, DType::f64, 2);
  const Tensor d_out = make_normal({4, 9}, DType::f64, 3), out = empty({4, 9}, DType::f64);
  const Tensor d_gate = empty({4, 9}, DType::f64), d_up = empty({4, 9}, DType::f64);
  swiglu_backward(gate, up, d_out, d_gate, d_up);
  const auto loss = [&] {
    swiglu(gate, up, out);
    return dot(out, d_out);
  };
  expect_gradient(gate, d_gate, loss);
  expect_gradient(up, d_up, loss);
}

TEST(SwiGlu, IsAccurateEverywhereInF32) {
  std::vector<double> values;
  for (int i = -20000; i <= 20000; ++i) values.push_back(i * 0.006);
  for (const double size : {1e-30, 1e-7, 1e-3, 1e4, 1e10}) {
    values.push_back(size);
    values.push_back(-size);
  }
  const Shape shape{1, static_cast<int64_t>(values.size())};
  const Tensor gate = make(values, shape, DType::f32),
               ones = make(std::vector<double>(values.size(), 1), shape, DType::f32);
  const Tensor out = empty(shape, DType::f32), d_gate = empty(shape, DType::f32), d_up = empty(shape, DType::f32);
  const Tensor wide = empty(shape, DType::f64), wide_d_gate = empty(shape, DType::f64);
  swiglu_backward(widened(gate), widened(ones), widened(ones), wide_d_gate, wide);
  on_every_target([&] {
    swiglu(gate, ones, out);
    swiglu_backward(gate, ones, ones, d_gate, d_up);
    expect_close(out, values_of(wide), 1e-7, 1e-6);
    ASSERT_EQ(bits_of(d_up), bits_of(out));
    // x s (1 - s) is at most 0.22, and s at most 1: a few roundings of each.
    expect_close(d_gate, values_of(wide_d_gate), 4e-7, 1e-6);
  });
}

TEST(SwiGlu, HandlesHalvesOfOneProductBothTypesAndItsOwnMemory) {
  on_every_target([&] {
    for (const DType type : {DType::f32, DType::bf16}) {
      for (const int64_t width : odd_lengths()) {
        const Tensor both = make_normal({3, 2 * width}, type, 1, 0, 2), d_both = empty({3, 2 * width}, type);
        const auto half = [&](const Tensor& t, int64_t index) { return t.slice(1, index * width, width); };
        const Tensor out = empty({3, width}, type), d_out = make_normal({3, width}, type, 2);
        swiglu(half(both, 0), half(both, 1), out);
        swiglu_backward(half(both, 0), half(both, 1), d_out, half(d_both, 0), half(d_both, 1));
        const Tensor wide = widened(both), wide_out = empty({3, width}, DType::f64);
        const Tensor wide_d = empty({3, 2 * width}, DType::f64);
        swiglu(half(wide, 0), half(wide, 1), wide_out);
        swiglu_backward(half(wide, 0), half(wide, 1), widened(d_out), half(wide_d, 0), half(wide_d, 1));
        expect_close(out, values_of(wide_out), 1e-6, 2e-6);
        expect_close(d_both, values_of(wide_d), 1e-5, 2e-6);
        const std::string expected = bits_of(d_both);
        swiglu_backward(half(both, 0), half(both, 1), d_out, half(both, 0), half(both, 1));
        ASSERT_EQ(bits_of(both), expected);
      }
    }
  });
}

TEST(SwiGlu, RefusesWrongOperands) {
  const Tensor x = make_normal({4, 6}, DType::f32, 1);
  EXPECT_ERROR(swiglu(x, make_normal({4, 5}, DType::f32, 1), x), "[swiglu] up: got f32 [4, 5]");
  EXPECT_ERROR(swiglu(x, x, make_normal({4, 6}, DType::bf16, 1)), "[swiglu] out: got bf16 [4, 6], expected f32");
  EXPECT_ERROR(swiglu_backward(x, x, make_normal({3, 6}, DType::f32, 1), x, x), "[swiglu_backward] d_out");
  EXPECT_ERROR(swiglu(make_normal({6}, DType::f32, 1), x, x), "expected a matrix");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({4, 6}, DType::f32, nowhere);
  swiglu(shape, shape, shape);
  swiglu_backward(shape, shape, shape, shape, shape);
}

}  // namespace
}  // namespace fledge::tensor
