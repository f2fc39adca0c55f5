#include "tensor/elementwise.h"

#include <bit>
#include <limits>

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
/// Rounding error of one operation in f32.
constexpr double kHalfStep = 0x1p-24;

TEST(Copy, RoundsF32ToBf16AsTheScalarFunctionDoes) {
  // Every upper half, with lower halves below, at and above a tie.
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  const auto count = static_cast<int64_t>(values.size());
  const Tensor from = Tensor::from(values, {count}, arena());
  Tensor to = Tensor::empty({count}, DType::bf16, arena());
  on_every_target([&] {
    fill(to, 0);
    copy(from, to);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(to.data<bf16>()[i].bits, bf16::from(values[i]).bits) << std::bit_cast<uint32_t>(values[i]);
    }
  });
}

TEST(Copy, WidensEveryBf16AndF16) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const Tensor words = Tensor::from(all, {65536}, arena());
  for (const DType dtype : {DType::bf16, DType::f16}) {
    Tensor from = Tensor::empty({65536}, dtype, arena());
    std::memcpy(from.raw(), words.raw(), words.bytes());
    Tensor to = Tensor::empty({65536}, DType::f32, arena());
    on_every_target([&] {
      fill(to, 0);
      copy(from, to);
      for (int64_t i = 0; i < 65536; ++i) {
        const double expected = cpu::reference::get(from.raw(), dtype, i);
        const double found = to.data<float>()[i];
        ASSERT_TRUE(found == expected || (std::isnan(found) && std::isnan(expected))) << i << ": " << found;
        ASSERT_EQ(std::signbit(found), std::signbit(expected)) << i;
      }
    });
  }
}

TEST(Copy, RoundsToF16) {
  struct Case {
    double value;
    uint16_t bits;
  };
  // From the definition of binary16: ties, subnormal numbers, overflow.
  const std::vector<Case> cases = {{0, 0},
                                   {-0.0, 0x8000},
                                   {1, 0x3c00},
                                   {-2, 0xc000},
                                   {1 + 0x1p-11, 0x3c00},
                                   {1 + 3 * 0x1p-11, 0x3c02},
                                   {65504, 0x7bff},
                                   {65519, 0x7bff},
                                   {65520, 0x7c00},
                                   {-kInfinity, 0xfc00},
                                   {0x1p-14, 0x0400},
                                   {0x1p-24, 0x0001},
                                   {0x1p-25, 0x0000},
                                   {3 * 0x1p-25, 0x0002},
                                   {0x1p-14 - 0x1p-26, 0x0400},
                                   {2047.0 / 2048, 0x3bff},
                                   {4095.0 / 4096, 0x3c00}};
  for (const Case& c : cases) {
    Tensor to = Tensor::empty({1}, DType::f16, arena());
    copy(make({c.value}, {1}, DType::f64), to);
    uint16_t bits = 0;
    std::memcpy(&bits, to.raw(), 2);
    EXPECT_EQ(bits, c.bits) << c.value;
  }
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const double value = cpu::reference::from_f16(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      ASSERT_EQ(cpu::reference::to_f16(value), bits);
    }
  }
}

TEST(Copy, FollowsStridesBetweenAllFloatingTypes) {
  const std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16};
  for (const DType source : dtypes) {
    for (const DType target : dtypes) {
      SCOPED_TRACE(std::string(name_of(source)) + " to " + std::string(name_of(target)));
      const Tensor whole = make_normal({5, 6, 37}, source, 1);
      Tensor room = Tensor::zeros({6, 40, 5}, target, arena());
      // [6, 37, 5]: a transposed view into a part of a larger tensor.
      const Tensor from = whole.transpose(0, 1).transpose(1, 2);
      const Tensor to = room.slice(1, 2, 37);
      copy(from, to);
      for (int64_t a = 0; a < 5; ++a) {
        for (int64_t b = 0; b < 6; ++b) {
          for (int64_t c = 0; c < 37; ++c) {
            const double value = cpu::reference::get(whole.raw(), source, (a * 6 + b) * 37 + c);
            Tensor expected = make({value}, {1}, target);
            ASSERT_EQ(cpu::reference::get(room.raw(), target, (b * 40 + c + 2) * 5 + a),
                      cpu::reference::get(expected.raw(), target, 0));
          }
        }
      }
      for (int64_t b = 0; b < 6; ++b) {
        for (const int64_t c : {0, 1, 39}) {
          for (int64_t a = 0; a < 5; ++a) ASSERT_EQ(cpu::reference::get(room.raw(), target, (b * 40 + c) * 5 + a), 0);
        }
      }
    }
  }
}

TEST(Copy, TakesRowsOfAWiderMatrix) {
  on_every_target([&] {
    for (const int64_t columns : odd_lengths()) {
      const Tensor whole = make_normal({7, columns + 3}, DType::f32, 2);
      const Tensor from = whole.slice(1, 1, columns);
      Tensor to = Tensor::empty({7, columns}, DType::bf16, arena());
      copy(from, to);
      const auto expected = from.to_vector<float>();
      const auto found = to.to_vector<bf16>();
      for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(found[i].bits, bf16::from(expected[i]).bits);
    }
  });
}

TEST(Copy, MovesIntegersAndRefusesToConvertThem) {
  const Tensor from = Tensor::from(std::vector<int32_t>{1, 2, 3, 4, 5, 6}, {2, 3}, arena());
  Tensor to = Tensor::empty({3, 2}, DType::i32, arena());
  copy(from.transpose(0, 1), to);
  EXPECT_EQ(to.to_vector<int32_t>(), (std::vector<int32_t>{1, 4, 2, 5, 3, 6}));
  EXPECT_ERROR(copy(from, Tensor::empty({2, 3}, DType::f32, arena())), "[copy] got i32 [2, 3] to f32 [2, 3]");
  EXPECT_ERROR(copy(from, to), "[copy] to: got i32 [3, 2], expected [2, 3]");
}

TEST(Fill, SetsEveryTypeThroughAnyStrides) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    Tensor whole = Tensor::zeros({9, 50}, dtype, arena());
    fill(whole.slice(1, 3, 20), -1.5);
    for (int64_t i = 0; i < 450; ++i) {
      ASSERT_EQ(cpu::reference::get(whole.raw(), dtype, i), i % 50 >= 3 && i % 50 < 23 ? -1.5 : 0);
    }
    fill(whole.transpose(0, 1), 2);
    for (int64_t i = 0; i < 450; ++i) ASSERT_EQ(cpu::reference::get(whole.raw(), dtype, i), 2);
  }
  Tensor ids = Tensor::empty({5}, DType::i32, arena());
  fill(ids, -1);
  EXPECT_EQ(ids.to_vector<int32_t>(), std::vector<int32_t>(5, -1));
  Tensor wide = Tensor::empty({2}, DType::i64, arena());
  fill(wide, 7);
  EXPECT_EQ(wide.to_vector<int64_t>(), std::vector<int64_t>(2, 7));
}

TEST(Scale, MultipliesEveryElementOnce) {
  on_every_target([&] {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      for (const int64_t count : odd_lengths()) {
        Tensor t = make_normal({count}, dtype, 3);
        std::vector<double> expected = values_of(t);
        for (double& value : expected) value *= 0.3;
        scale(t, 0.3);
        expect_close(t, expected, 0, dtype == DType::f64 ? 1e-16 : 2 * kHalfStep);
      }
    }
  });
  Tensor t = make_normal({4, 6}, DType::f32, 4);
  const auto before = values_of(t);
  scale(t.transpose(0, 1).slice(0, 1, 2), 2);
  for (size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(values_of(t)[i], (i % 6 == 1 || i % 6 == 2 ? 2 : 1) * before[i]);
  }
}

TEST(Add, MixesTypes) {
  const std::vector<DType> dtypes = {DType::f32, DType::bf16};
  on_every_target([&] {
    for (const DType left : dtypes) {
      for (const DType right : dtypes) {
        for (const DType result : dtypes) {
          for (const int64_t count : odd_lengths()) {
            const Tensor a = make_normal({count}, left, 5), b = make_normal({count}, right, 6);
            Tensor out = Tensor::empty({count}, result, arena());
            add(a, b, out);
            std::vector<double> expected = values_of(a);
            for (size_t i = 0; i < expected.size(); ++i) {
              expected[i] = static_cast<float>(expected[i] + values_of(b)[i]);
            }
            ASSERT_EQ(bits_of(out), bits_of(make(expected, {count}, result)));
          }
        }
      }
    }
  });
}

TEST(Add, WorksInPlaceAndThroughStrides) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    Tensor target = make_normal({6, 70}, dtype, 7);
    const Tensor source = make_normal({70, 6}, dtype, 8);
    const auto before = values_of(target), other = values_of(source);
    add_into(target.slice(1, 5, 60), source.transpose(0, 1).slice(1, 5, 60));
    for (size_t r = 0; r < 6; ++r) {
      for (size_t c = 0; c < 70; ++c) {
        const double added = c >= 5 && c < 65 ? other[c * 6 + r] : 0;
        ASSERT_NEAR(values_of(target)[r * 70 + c], before[r * 70 + c] + added, 1e-6);
      }
    }
  }
  const Tensor wide = make_normal({3}, DType::f64, 9), narrow = make_normal({3}, DType::f32, 9);
  EXPECT_ERROR(add(wide, narrow, wide), "[add] b beside a in f64: got f32 [3], expected f64");
  EXPECT_ERROR(add(narrow, wide, narrow), "[add] b: got f64 [3], expected f32 or bf16");
  EXPECT_ERROR(add_into(narrow, make_normal({4}, DType::f32, 1)), "[add] b: got f32 [4], expected [3]");
}

TEST(SumOfSquares, IsExactToF64AndIndependentOfThreads) {
  on_every_target([&] {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      for (const int64_t count : {0, 1, 17, 4095, 4096, 4097, 200001}) {
        const Tensor t = make_normal({count}, dtype, 10);
        long double expected = 0;
        for (const double value : values_of(t)) expected += static_cast<long double>(value) * value;
        const double found = sum_of_squares(t);
        // n additions of positive numbers in f64, in blocks.
        EXPECT_NEAR(found, static_cast<double>(expected), 1e-13 * static_cast<double>(expected));
        with_thread_counts([&] { EXPECT_EQ(sum_of_squares(t), found); });
      }
    }
  });
  // Squares that overflow f32.
  EXPECT_DOUBLE_EQ(sum_of_squares(make({0x1p100, 0x1p100}, {2}, DType::f32)), 0x1p201);
  EXPECT_EQ(sum_of_squares(make({0x1p-100}, {1}, DType::f32)), 0x1p-200);
}

TEST(AllFinite, FindsOneBadElementAnywhere) {
  on_every_target([&] {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      for (const int64_t count : {1, 5, 33, 70}) {
        Tensor t = make_normal({count}, dtype, 11);
        cpu::reference::set(t.raw(), dtype, 0, 3e38);
        EXPECT_TRUE(all_finite(t));
        for (int64_t i = 0; i < count; ++i) {
          for (const double bad : {kInfinity, -kInfinity, kNaN}) {
            const double before = cpu::reference::get(t.raw(), dtype, i);
            cpu::reference::set(t.raw(), dtype, i, bad);
            EXPECT_FALSE(all_finite(t)) << describe(t) << " " << i << " " << bad;
            cpu::reference::set(t.raw(), dtype, i, before);
          }
        }
      }
    }
  });
  Tensor large = Tensor::zeros({1000000}, DType::f32, arena());
  EXPECT_TRUE(all_finite(large));
  large.data<float>()[999999] = NAN;
  EXPECT_FALSE(all_finite(large));
  EXPECT_TRUE(all_finite(Tensor::empty({0}, DType::f32, arena())));
}

TEST(ColumnSum, AddsRowsInAnOrderOfItsOwn) {
  on_every_target([&] {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      const DType sum_type = dtype == DType::f64 ? DType::f64 : DType::f32;
      for (const int64_t rows : {0, 1, 3, 4, 63, 64, 65, 1000}) {
        for (const int64_t columns : {0, 1, 17, 100, 257}) {
          const Tensor x = make_normal({rows, columns}, dtype, 12);
          Tensor out = make_normal({columns}, sum_type, 13);
          std::vector<double> expected(static_cast<size_t>(columns)), sizes(expected), started = values_of(out);
          const auto values = values_of(x);
          for (size_t i = 0; i < values.size(); ++i) {
            expected[i % static_cast<size_t>(columns)] += values[i];
            sizes[i % static_cast<size_t>(columns)] += std::abs(values[i]);
          }
          Tensor fresh = make_normal({columns}, sum_type, 14);
          column_sum(x, out, true);
          column_sum(x, fresh, false);
          // At most 64 + 16 additions meet an element: (64 + 16) half steps of the sum of magnitudes.
          const double unit = 80 * (dtype == DType::f64 ? 0x1p-53 : kHalfStep);
          const auto fresh_values = values_of(fresh), out_values = values_of(out);
          for (size_t c = 0; c < expected.size(); ++c) {
            ASSERT_NEAR(fresh_values[c], expected[c], unit * sizes[c]);
            ASSERT_NEAR(out_values[c], started[c] + expected[c], unit * (sizes[c] + std::abs(started[c])));
          }
          if (rows < 1000 || columns < 257) continue;
          const std::string bits = bits_of(fresh);
          with_thread_counts([&] {
            column_sum(x, fresh, false);
            ASSERT_EQ(bits_of(fresh), bits);
          });
        }
      }
    }
  });
  const Tensor x = make_normal({4, 6}, DType::bf16, 1);
  EXPECT_ERROR(column_sum(x, Tensor::empty({5}, DType::f32, arena()), false), "[column_sum] out: got f32 [5]");
  EXPECT_ERROR(column_sum(x.transpose(0, 1), Tensor::empty({4}, DType::f32, arena()), false), "contiguous");
  EXPECT_ERROR(column_sum(x, Tensor::empty({6}, DType::bf16, arena()), false), "expected f32");
}

TEST(Elementwise, DoesNothingOnTheMetaDevice) {
  Arena nowhere("shapes", Device::meta);
  Tensor a = Tensor::empty({1000, 1000}, DType::f32, nowhere), b = Tensor::empty({1000}, DType::f32, nowhere);
  copy(a, a);
  fill(a, 1);
  scale(a, 2);
  add(a, a, a);
  column_sum(a, b, true);
  EXPECT_EQ(sum_of_squares(a), 0);
  EXPECT_TRUE(all_finite(a));
  EXPECT_ERROR(add(a, b, a), "[add] b: got f32 [1000], expected [1000, 1000]");
}

}  // namespace
}  // namespace fledge::tensor
