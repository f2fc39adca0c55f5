#include "tensor/rotary.h"

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

Tensor positions_of(const std::vector<int32_t>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())}, arena());
}

TEST(Rotary, AnglesAreCosinesAndSines) {
  const std::vector<float> frequencies = {1.0f, 0.25f, 1e-4f};
  const Tensor positions = positions_of({0, 3, 100000});
  for (const DType type : {DType::f32, DType::f64}) {
    const Tensor out = Tensor::empty({3, 6}, type, arena());
    rotary_angles(positions, frequencies, 1.5, out);
    std::vector<double> expected;
    for (const int32_t position : {0, 3, 100000}) {
      const auto place = static_cast<float>(position);
      for (const float frequency : frequencies) expected.push_back(1.5 * std::cos(double{place * frequency}));
      for (const float frequency : frequencies) expected.push_back(1.5 * std::sin(double{place * frequency}));
    }
    expect_close(out, expected, type == DType::f64 ? 1e-15 : 1e-7, 0);
  }
}

TEST(Rotary, TurnsPairsOfElements) {
  // A quarter turn of (x0, x2) and half a turn of (x1, x3).
  const Tensor x = make({1, 2, 3, 4}, {1, 1, 4}, DType::f64), angles = make({0, -1, 1, 0}, {1, 4}, DType::f64);
  const Tensor out = Tensor::empty({1, 1, 4}, DType::f64, arena());
  rotate(x, angles, false, out);
  expect_close(out, {-3, -2, 1, -4}, 0, 0);
  rotate(out, angles, true, out);
  expect_close(out, {1, 2, 3, 4}, 0, 0);
}

TEST(Rotary, TheInverseIsTheGradient) {
  const Tensor x = make_normal({3, 2, 6}, DType::f64, 1), d_out = make_normal({3, 2, 6}, DType::f64, 2);
  const Tensor angles = make_normal({3, 6}, DType::f64, 3), out = Tensor::empty(x.shape(), DType::f64, arena());
  const Tensor d_x = Tensor::empty(x.shape(), DType::f64, arena());
  rotate(d_out, angles, true, d_x);
  expect_gradient(x, d_x, [&] {
    rotate(x, angles, false, out);
    return dot(out, d_out);
  });
}

TEST(Rotary, HandlesViewsOddSizesAndItsOwnMemory) {
  on_every_target([&] {
    for (const DType type : {DType::f32, DType::bf16}) {
      for (const int64_t half : odd_lengths()) {
        if (half == 0) continue;
        const int64_t size = 2 * half;
        const Tensor packed = make_normal({5, 4 * size}, type, 1), angles = make_normal({5, size}, DType::f32, 2);
        const auto middle = [&](const Tensor& t) { return t.reshape({5, 4, size}).slice(1, 1, 2); };
        const Tensor wide = Tensor::empty({5, 4, size}, DType::f64, arena());
        copy(widened(packed).reshape({5, 4, size}), wide);
        for (const bool inverse : {false, true}) {
          const Tensor out = make(values_of(packed), packed.shape(), type);
          rotate(middle(packed), angles, inverse, middle(out));
          const Tensor expected = make(values_of(packed), {5, 4, size}, DType::f64);
          rotate(expected.slice(1, 1, 2), widened(angles), inverse, expected.slice(1, 1, 2));
          // Two products of normal numbers (below 6 here) and their sum in f32.
          expect_close(out.reshape({5, 4, size}), values_of(expected), 3e-6, 0);
          const Tensor same = make(values_of(packed), packed.shape(), type);
          rotate(middle(same), angles, inverse, middle(same));
          ASSERT_EQ(bits_of(same), bits_of(out));
        }
      }
    }
  });
}

TEST(Rotary, RefusesWrongOperandsAndLeavesEmptyOnesAlone) {
  const Tensor x = make_normal({2, 3, 4}, DType::f32, 1), angles = make_normal({2, 4}, DType::f32, 2);
  EXPECT_ERROR(rotate(make_normal({2, 3, 5}, DType::f32, 1), angles, false, x), "even D");
  EXPECT_ERROR(rotate(x, make_normal({3, 4}, DType::f32, 2), false, x), "[rotate] angles: got f32 [3, 4]");
  EXPECT_ERROR(rotate(x, angles, false, make_normal({2, 3, 4}, DType::bf16, 1)), "[rotate] out: got bf16");
  EXPECT_ERROR(rotate(x.transpose(1, 2), make_normal({2, 3}, DType::f32, 1), false, x), "[rotate] x");
  const std::vector<float> frequencies = {1, 2};
  EXPECT_ERROR(rotary_angles(make_normal({2}, DType::f32, 1), frequencies, 1, angles), "expected i32");
  EXPECT_ERROR(rotary_angles(positions_of({1, 2, 3}), frequencies, 1, angles), "[rotary_angles] out: got f32 [2, 4]");
  const Tensor none = Tensor::empty({0, 3, 4}, DType::f32, arena());
  rotate(none, Tensor::empty({0, 4}, DType::f32, arena()), false, none);
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({2, 3, 4}, DType::f32, nowhere), rows = Tensor::empty({2, 4}, DType::f32, nowhere);
  rotary_angles(Tensor::empty({2}, DType::i32, nowhere), frequencies, 1, rows);
  rotate(shape, rows, false, shape);
}

}  // namespace
}  // namespace fledge::tensor
