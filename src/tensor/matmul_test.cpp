#include "tensor/matmul.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "base/error.h"
#include "base/parallel.h"
#include "tensor/cpu/micro_kernel.h"

namespace fledge::tensor {
namespace {

Arena& arena() {
  static Arena memory("test");
  return memory;
}

Tensor random_tensor(const Shape& shape, DType dtype, uint32_t seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& value : values) value = normal(engine);
  if (dtype == DType::f32) return Tensor::from(values, shape, arena());
  if (dtype == DType::f64) return Tensor::from(std::vector<double>(values.begin(), values.end()), shape, arena());
  std::vector<bf16> halves;
  for (const float value : values) halves.push_back(bf16::from(value));
  return Tensor::from(halves, shape, arena());
}

std::vector<double> values_of(const Tensor& tensor) {
  std::vector<double> values;
  if (tensor.dtype() == DType::f64) return tensor.to_vector<double>();
  if (tensor.dtype() == DType::f32) {
    for (const float value : tensor.to_vector<float>()) values.push_back(value);
  } else {
    for (const bf16 value : tensor.to_vector<bf16>()) values.push_back(static_cast<float>(value));
  }
  return values;
}

double activate(Activation activation, double x) {
  if (activation == Activation::gelu_exact) return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
  if (activation == Activation::gelu_tanh) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

struct Case {
  int64_t rows, depth, columns;
  Precision precision = Precision::f32;
  DType a = DType::f32, b = DType::f32, out = DType::f32;
  bool a_transposed = false, b_transposed = false, packed = true;
  bool bias = false, preactivation = false, residual = false, accumulate = false;
  Activation activation = Activation::none;
};

/// Checks one case against sums in f64. The products are exact or rounded once, and so is every addition, so a sum is
/// off by at most (K + 2) 2^-24 sum |terms| to first order (twice that covers the rest); GELU's slope is below 1.13 and
/// its own error below 1e-6; storing as bf16 rounds by 2^-9 of the value.
void check(const Case& test) {
  SCOPED_TRACE(testing::Message() << test.rows << "x" << test.depth << "x" << test.columns << " "
                                  << (test.precision == Precision::f32 ? "f32" : "bf16") << " " << name_of(test.a)
                                  << "," << name_of(test.b) << "->" << name_of(test.out) << " transposed "
                                  << test.a_transposed << test.b_transposed << " packed " << test.packed);
  const auto operand = [](int64_t rows, int64_t columns, DType dtype, bool transposed, uint32_t seed) {
    const Tensor stored = random_tensor(transposed ? Shape{columns, rows + 3} : Shape{rows, columns + 3}, dtype, seed);
    return transposed ? stored.slice(1, 2, rows).transpose(0, 1) : stored.slice(1, 2, columns);
  };
  const Tensor a = operand(test.rows, test.depth, test.a, test.a_transposed, 1);
  const Tensor b = operand(test.depth, test.columns, test.b, test.b_transposed, 2);
  const Shape shape{test.rows, test.columns};
  Tensor wide = random_tensor({test.rows, test.columns + 5}, test.out, 3);
  const std::vector<double> wide_before = values_of(wide);
  Tensor out = wide.slice(1, 1, test.columns);
  const std::vector<double> before = values_of(out);
  Epilogue epilogue;
  const bool f64 = test.out == DType::f64;
  if (test.bias) epilogue.bias = random_tensor({test.columns}, f64 ? DType::f64 : DType::f32, 4);
  if (test.preactivation) epilogue.preactivation = Tensor::zeros(shape, test.out, arena());
  if (test.residual) epilogue.residual = out;
  epilogue.activation = test.activation;
  epilogue.accumulate = test.accumulate;
  if (test.packed) {
    PackedMatrix packed;
    pack(b, test.precision, packed, arena());
    matmul(a, packed, out, epilogue);
  } else {
    matmul(a, b, test.precision, out, epilogue);
  }

  const bool rounds = test.precision == Precision::bf16 && !f64;
  const auto operand_values = [&](const Tensor& tensor) {
    std::vector<double> values = values_of(tensor);
    if (rounds) {
      for (double& value : values) value = static_cast<float>(bf16::from(static_cast<float>(value)));
    }
    return values;
  };
  const std::vector<double> left = operand_values(a), right = operand_values(b), got = values_of(out);
  const std::vector<double> kept = test.preactivation ? values_of(epilogue.preactivation) : std::vector<double>();
  const double unit = f64 ? std::ldexp(1.0, -53) : std::ldexp(1.0, -24);
  const double store = test.out == DType::bf16 ? std::ldexp(1.0, -8) : 2 * unit;
  for (int64_t row = 0; row < test.rows; ++row) {
    for (int64_t column = 0; column < test.columns; ++column) {
      const auto index = static_cast<size_t>(row * test.columns + column);
      double sum = test.bias ? values_of(epilogue.bias)[static_cast<size_t>(column)] : 0;
      if (test.accumulate) sum = before[index];
      double size = std::abs(sum);
      for (int64_t k = 0; k < test.depth; ++k) {
        const double term =
            left[static_cast<size_t>(row * test.depth + k)] * right[static_cast<size_t>(k * test.columns + column)];
        sum += term;
        size += std::abs(term);
      }
      const double error = 2 * static_cast<double>(test.depth + 2) * unit * size;
      if (test.preactivation) {
        ASSERT_NEAR(kept[index], sum, error + store * std::abs(sum)) << row << "," << column;
      }
      double expected = activate(test.activation, sum);
      if (test.residual) expected += before[index];
      const double gelu_error = test.activation == Activation::none ? 0 : (f64 ? 1e-14 : 1e-6);
      const double residual_error = test.residual ? 2 * unit * std::abs(before[index]) : 0;
      ASSERT_NEAR(got[index], expected, 1.13 * error + gelu_error + residual_error + store * std::abs(expected))
          << row << "," << column;
    }
  }
  const std::vector<double> wide_after = values_of(wide);
  for (size_t i = 0; i < wide_after.size(); ++i) {
    const auto column = static_cast<int64_t>(i) % (test.columns + 5);
    if (column < 1 || column > test.columns) {
      ASSERT_EQ(wide_after[i], wide_before[i]) << "wrote beyond the output";
    }
  }
}

TEST(Matmul, EveryShape) {
  const std::vector<std::array<int64_t, 3>> shapes = {{1, 1, 1},    {1, 37, 50},  {2, 3, 5},    {13, 17, 31},
                                                      {14, 64, 32}, {15, 65, 33}, {64, 96, 65}, {97, 129, 131},
                                                      {3, 0, 4},    {29, 2, 1},   {33, 200, 70}};
  for (const auto& [rows, depth, columns] : shapes) {
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      for (const bool packed : {false, true}) {
        check({.rows = rows, .depth = depth, .columns = columns, .precision = precision, .packed = packed});
      }
    }
    check({.rows = rows, .depth = depth, .columns = columns, .a = DType::f64, .b = DType::f64, .out = DType::f64});
  }
}

TEST(Matmul, EveryTypeAndLayout) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const DType a : {DType::f32, DType::bf16}) {
      for (const DType b : {DType::f32, DType::bf16}) {
        for (const DType out : {DType::f32, DType::bf16}) {
          for (const int layout : {0, 1, 2, 3}) {
            check({.rows = 45,
                   .depth = 71,
                   .columns = 67,
                   .precision = precision,
                   .a = a,
                   .b = b,
                   .out = out,
                   .a_transposed = (layout & 1) != 0,
                   .b_transposed = (layout & 2) != 0,
                   .packed = layout % 3 == 0});
          }
        }
      }
    }
  }
}

TEST(Matmul, EveryEpilogue) {
  for (const DType out : {DType::f32, DType::bf16, DType::f64}) {
    const DType operand = out == DType::f64 ? DType::f64 : DType::f32;
    const Case base{.rows = 31, .depth = 40, .columns = 53, .a = operand, .b = operand, .out = out};
    for (const Activation activation : {Activation::none, Activation::gelu_exact, Activation::gelu_tanh}) {
      for (int options = 0; options < 8; ++options) {
        Case test = base;
        test.activation = activation;
        test.bias = (options & 1) != 0;
        test.preactivation = (options & 2) != 0;
        test.residual = (options & 4) != 0 && out != DType::bf16;
        check(test);
      }
    }
    Case test = base;
    test.accumulate = true;
    check(test);
  }
}

/// A depth of several blocks, with every way to keep the sums between them.
TEST(Matmul, DepthOfSeveralBlocks) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const bool packed : {false, true}) {
      Case test{.rows = 17, .depth = 5003, .columns = 35, .precision = precision, .packed = packed};
      check(test);
      test.out = DType::bf16;
      test.bias = true;
      check(test);
      test.out = DType::f32;
      test.residual = true;
      test.activation = Activation::gelu_tanh;
      check(test);
      check({.rows = 17, .depth = 5003, .columns = 35, .precision = precision, .packed = packed, .accumulate = true});
    }
  }
}

std::vector<float> multiply(const Tensor& a, const PackedMatrix& b) {
  Tensor out = Tensor::empty({a.dim(0), b.columns}, DType::f32, arena());
  matmul(a, b, out);
  return out.to_vector<float>();
}

TEST(Matmul, ARowDoesNotDependOnTheOthersNorOnThreads) {
  const int threads = base::thread_count();
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const int64_t depth : {100, 768, 4100}) {
      const Tensor a = random_tensor({64, depth}, DType::f32, 5), b = random_tensor({depth, 200}, DType::f32, 6);
      PackedMatrix packed;
      pack(b, precision, packed, arena());
      base::set_thread_count(2);
      const std::vector<float> all = multiply(a, packed);
      Tensor out = Tensor::empty({64, 200}, DType::f32, arena());
      matmul(a, b, precision, out);
      EXPECT_EQ(out.to_vector<float>(), all) << "packing on the way changes the result";
      for (const int count : {1, 2, 3}) {
        base::set_thread_count(count);
        EXPECT_EQ(multiply(a, packed), all) << count << " threads";
        for (const int64_t row : {0, 13, 63}) {
          const std::vector<float> one = multiply(a.slice(0, row, 1), packed);
          EXPECT_EQ(std::memcmp(one.data(), all.data() + row * 200, 200 * sizeof(float)), 0) << "row " << row;
        }
      }
    }
  }
  base::set_thread_count(threads);
}

TEST(Matmul, PacksIntoTheSameMemory) {
  PackedMatrix packed;
  pack(random_tensor({40, 50}, DType::f32, 7), Precision::bf16, packed, arena());
  const std::byte* memory = packed.bytes.raw();
  const size_t in_use = arena().bytes_in_use();
  EXPECT_EQ(packed.bytes.bytes(), packed_bytes(40, 50, Precision::bf16));
  pack(random_tensor({40, 50}, DType::bf16, 8), Precision::bf16, packed, arena());
  EXPECT_EQ(packed.bytes.raw(), memory);
  EXPECT_EQ(arena().bytes_in_use(), in_use);
}

TEST(Matmul, MetaHasShapesAndNoMemory) {
  Arena meta("meta", Device::meta);
  const Tensor a = Tensor::empty({1000, 2000}, DType::bf16, meta), b = Tensor::empty({2000, 3000}, DType::bf16, meta);
  Tensor out = Tensor::empty({1000, 3000}, DType::f32, meta);
  PackedMatrix packed;
  pack(b, Precision::bf16, packed, meta);
  EXPECT_EQ(packed.bytes.bytes(), packed_bytes(2000, 3000, Precision::bf16));
  matmul(a, packed, out);
  matmul(a, b, Precision::bf16, out);
}

TEST(Matmul, RefusesWhatDoesNotFit) {
  const Tensor a = random_tensor({4, 5}, DType::f32, 1), b = random_tensor({5, 6}, DType::f32, 2);
  Tensor out = Tensor::empty({4, 6}, DType::f32, arena());
  PackedMatrix packed;
  EXPECT_THROW(matmul(a, packed, out), base::Error);
  pack(b, Precision::f32, packed, arena());
  EXPECT_NO_THROW(matmul(a, packed, out));
  EXPECT_THROW(matmul(b, packed, out), base::Error);
  Tensor narrow = Tensor::empty({4, 5}, DType::f32, arena());
  EXPECT_THROW(matmul(a, packed, narrow), base::Error);
  Tensor wrong = Tensor::empty({4, 6}, DType::i32, arena());
  EXPECT_THROW(matmul(a, packed, wrong), base::Error);
  Epilogue epilogue;
  epilogue.bias = random_tensor({5}, DType::f32, 3);
  EXPECT_THROW(matmul(a, packed, out, epilogue), base::Error);
  epilogue.bias = random_tensor({6}, DType::f32, 3);
  EXPECT_NO_THROW(matmul(a, packed, out, epilogue));
  epilogue.accumulate = true;
  EXPECT_THROW(matmul(a, packed, out, epilogue), base::Error);
  EXPECT_THROW(matmul(random_tensor({4, 5}, DType::f64, 1), packed, out), base::Error);
}

/// out = residual + scale * (a b + sum of terms + addend) + bias, against sums in f64 of the rounded operands.
void check_changed_sums(Precision precision, DType out_type, int64_t rows, bool row_scales, bool residual) {
  const int64_t depth = 700, columns = 75;
  const bool f64 = out_type == DType::f64;
  const DType exact = f64 ? DType::f64 : DType::f32;
  const auto operand = [&](const Shape& shape, uint32_t seed) {
    Tensor wide = random_tensor(shape, exact, seed);
    if (precision == Precision::f32 || f64) return wide;
    Tensor narrow = Tensor::empty(shape, DType::bf16, arena());
    for (int64_t i = 0; i < wide.elements(); ++i) narrow.data<bf16>()[i] = bf16::from(wide.data<float>()[i]);
    return narrow;
  };
  const Tensor a = operand({rows, depth}, 1), b = operand({depth, columns}, 2);
  const Tensor a1 = operand({rows, 16}, 3), b1 = operand({16, columns}, 4);
  const Tensor a2 = operand({rows, 33}, 5), b2 = operand({33, columns}, 6);
  PackedMatrix packed, packed1, packed2;
  pack(b, precision, packed, arena());
  pack(b1, precision, packed1, arena());
  pack(b2, precision, packed2, arena());
  const std::array<ProductTerm, 2> terms{ProductTerm{a1, &packed1}, ProductTerm{a2, &packed2}};
  Tensor out = random_tensor({rows, columns}, out_type, 7);
  const Tensor before = random_tensor({rows, columns}, out_type, 7);
  Epilogue epilogue;
  epilogue.terms = terms;
  epilogue.addend = random_tensor({rows, columns}, exact, 8);
  epilogue.scale = random_tensor(row_scales ? Shape{rows, columns} : Shape{columns}, exact, 9);
  epilogue.bias = random_tensor({columns}, exact, 10);
  epilogue.unscaled = Tensor::zeros({rows, columns}, out_type, arena());
  if (residual) epilogue.residual = out;
  matmul(a, packed, out, epilogue);

  const auto products = [&](const Tensor& left, const Tensor& right, std::vector<double>& sums,
                            std::vector<double>& sizes) {
    const auto x = values_of(left), y = values_of(right);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t k = 0; k < left.dim(1); ++k) {
        for (int64_t column = 0; column < columns; ++column) {
          const double term =
              x[static_cast<size_t>(row * left.dim(1) + k)] * y[static_cast<size_t>(k * columns + column)];
          sums[static_cast<size_t>(row * columns + column)] += term;
          sizes[static_cast<size_t>(row * columns + column)] += std::abs(term);
        }
      }
    }
  };
  std::vector<double> sums = values_of(epilogue.addend), sizes(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) sizes[i] = std::abs(sums[i]);
  products(a, b, sums, sizes);
  products(a1, b1, sums, sizes);
  products(a2, b2, sums, sizes);
  const auto got = values_of(out), kept = values_of(epilogue.unscaled), scales = values_of(epilogue.scale),
             bias = values_of(epilogue.bias), old = values_of(before);
  const double unit = f64 ? std::ldexp(1.0, -53) : std::ldexp(1.0, -24);
  const double store = out_type == DType::bf16 ? std::ldexp(1.0, -8) : 4 * unit;
  for (size_t i = 0; i < sums.size(); ++i) {
    const size_t column = i % static_cast<size_t>(columns);
    const double error = 2 * static_cast<double>(depth + 52) * unit * sizes[i];
    ASSERT_NEAR(kept[i], sums[i], error + store * std::abs(sums[i])) << i;
    const double scale = scales[row_scales ? i : column];
    const double expected = scale * sums[i] + bias[column] + (residual ? old[i] : 0.0);
    const double size = std::abs(scale * sums[i]) + std::abs(bias[column]) + (residual ? std::abs(old[i]) : 0.0);
    ASSERT_NEAR(got[i], expected, std::abs(scale) * error + store * size) << i;
  }
}

TEST(Matmul, AddsTermsAndScalesSums) {
  for (const int64_t rows : {1, 5, 40, 130}) {
    check_changed_sums(Precision::f32, DType::f64, rows, rows == 5, false);
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      check_changed_sums(precision, DType::f32, rows, false, false);
      check_changed_sums(precision, DType::f32, rows, true, true);
      check_changed_sums(precision, DType::bf16, rows, rows == 40, false);
    }
  }
}

TEST(Matmul, RefusesTermsThatDoNotFit) {
  const Tensor a = random_tensor({4, 8}, DType::f32, 1), b = random_tensor({8, 6}, DType::f32, 2);
  PackedMatrix packed, narrow;
  pack(b, Precision::f32, packed, arena());
  pack(b, Precision::bf16, narrow, arena());
  Tensor out = Tensor::empty({4, 6}, DType::f32, arena());
  const auto multiply = [&](const Tensor& left, const PackedMatrix* right) {
    const ProductTerm term{left, right};
    Epilogue epilogue;
    epilogue.terms = {&term, 1};
    matmul(a, packed, out, epilogue);
  };
  multiply(a, &packed);
  EXPECT_THROW(multiply(a.slice(0, 0, 3), &packed), base::Error);
  EXPECT_THROW(multiply(a.slice(1, 0, 7), &packed), base::Error);
  EXPECT_THROW(multiply(a, &narrow), base::Error);
  EXPECT_THROW(multiply(a, nullptr), base::Error);
}

}  // namespace
}  // namespace fledge::tensor
