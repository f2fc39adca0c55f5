#include "tensor/cpu/micro_kernel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::tensor::cpu {
namespace {

constexpr float kCanary = 12345.0f;

/// A matrix of random f32 or bf16 values, stored by rows or by columns, with room between them.
class RandomMatrix {
 public:
  RandomMatrix(int64_t rows, int64_t columns, DType dtype, bool by_columns, uint32_t seed)
      : view_{nullptr, dtype, rows, columns, by_columns ? 1 : columns + 3, by_columns ? rows + 5 : 1} {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    const auto elements = static_cast<size_t>((rows + 5) * (columns + 5));
    for (size_t i = 0; i < elements; ++i) {
      floats_.push_back(normal(engine));
      halves_.push_back(bf16::from(floats_.back()));
    }
    view_.data = dtype == DType::f32 ? static_cast<const void*>(floats_.data()) : halves_.data();
  }
  const MatrixView& view() const { return view_; }
  /// The value that a kernel of that arithmetic multiplies.
  double at(int64_t row, int64_t column, DType arithmetic) const {
    const auto index = static_cast<size_t>(row * view_.row_stride + column * view_.column_stride);
    const float value = view_.dtype == DType::f32 ? floats_[index] : static_cast<float>(halves_[index]);
    return arithmetic == DType::f32 ? value : static_cast<float>(bf16::from(value));
  }

 private:
  std::vector<float> floats_;
  std::vector<bf16> halves_;
  MatrixView view_;
};

/// Panels of both operands with something behind them that must survive.
struct Panels {
  std::vector<std::byte> a, b;

  Panels(const MicroKernel& kernel, const MatrixView& left, const MatrixView& right) {
    const auto a_bytes = static_cast<size_t>(kernel.a_panel_bytes(left.columns));
    const auto b_bytes = static_cast<size_t>(kernel.b_panel_bytes(right.rows));
    a.assign(a_bytes + kGuard, std::byte{0x5a});
    b.assign(b_bytes + kGuard, std::byte{0x5a});
    kernel.pack_a(left, a.data());
    kernel.pack_b(right, b.data());
    for (size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(a[a_bytes + i], std::byte{0x5a}) << "pack_a wrote beyond its panel";
      EXPECT_EQ(b[b_bytes + i], std::byte{0x5a}) << "pack_b wrote beyond its panel";
    }
  }

 private:
  static constexpr size_t kGuard = 64;
};

std::vector<float> product(const MicroKernel& kernel, const RandomMatrix& left, const RandomMatrix& right, float start,
                           bool accumulate) {
  const int64_t rows = left.view().rows, columns = right.view().columns, stride = columns + 3;
  const Panels panels(kernel, left.view(), right.view());
  std::vector<float> c(static_cast<size_t>((rows + 1) * stride), kCanary);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) c[static_cast<size_t>(row * stride + column)] = start;
  }
  kernel.multiply(kernel.padded_depth(left.view().columns), panels.a.data(), panels.b.data(), c.data(), stride, rows,
                  columns, accumulate);
  for (int64_t row = 0; row <= rows; ++row) {
    for (int64_t column = row < rows ? columns : 0; column < stride; ++column) {
      EXPECT_EQ(c[static_cast<size_t>(row * stride + column)], kCanary) << "wrote outside of the tile";
    }
  }
  return c;
}

/// Sums of f32 products, each rounded: |error| <= (K + 1) 2^-24 sum |a||b| to first order; twice that covers the rest.
void expect_product(const MicroKernel& kernel, int64_t rows, int64_t depth, int64_t columns, DType dtype,
                    bool by_columns, bool accumulate) {
  const RandomMatrix left(rows, depth, dtype, by_columns, 1);
  const RandomMatrix right(depth, columns, dtype, by_columns, 2);
  constexpr float kStart = 3.25f;
  const std::vector<float> c = product(kernel, left, right, kStart, accumulate);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      double sum = accumulate ? kStart : 0, size = std::abs(sum);
      for (int64_t k = 0; k < depth; ++k) {
        const double term = left.at(row, k, kernel.arithmetic) * right.at(k, column, kernel.arithmetic);
        sum += term;
        size += std::abs(term);
      }
      const double bound = 2 * static_cast<double>(depth + 1) * std::ldexp(1.0, -24) * size;
      const float got = c[static_cast<size_t>(row * (columns + 3) + column)];
      ASSERT_NEAR(got, sum, bound) << kernel.name << " [" << rows << ", " << depth << ", " << columns << "] "
                                   << name_of(dtype) << " at " << row << ", " << column;
    }
  }
}

class MicroKernels : public testing::TestWithParam<const MicroKernel*> {};

TEST_P(MicroKernels, MultiplyEveryTileSize) {
  const MicroKernel& kernel = *GetParam();
  for (int64_t rows = 1; rows <= kernel.rows; ++rows) {
    for (int64_t columns = 1; columns <= kernel.columns; ++columns) {
      expect_product(kernel, rows, 37, columns, DType::f32, false, columns % 2 == 1);
    }
  }
}

TEST_P(MicroKernels, MultiplyEveryDepthAndLayout) {
  const MicroKernel& kernel = *GetParam();
  for (const int64_t depth : {0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool by_columns : {false, true}) {
        for (const int64_t short_by : {0, 1}) {
          expect_product(kernel, kernel.rows - short_by, depth, kernel.columns - short_by, dtype, by_columns, false);
        }
        expect_product(kernel, 1, depth, kernel.columns, dtype, by_columns, true);
      }
    }
  }
}

TEST_P(MicroKernels, ReadOperandsThatAreContiguousInNeitherDirection) {
  const MicroKernel& kernel = *GetParam();
  const auto every_second = [](MatrixView view) {
    return MatrixView{view.data,        view.dtype,          view.rows / 2,
                      view.columns / 2, 2 * view.row_stride, 2 * view.column_stride};
  };
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const RandomMatrix left(2 * kernel.rows - 2, 66, dtype, false, 5),
        right(66, 2 * kernel.columns - 2, dtype, false, 6);
    const MatrixView a = every_second(left.view()), b = every_second(right.view());
    const Panels panels(kernel, a, b);
    std::vector<float> c(static_cast<size_t>(a.rows * b.columns));
    kernel.multiply(kernel.padded_depth(33), panels.a.data(), panels.b.data(), c.data(), b.columns, a.rows, b.columns,
                    false);
    for (int64_t row = 0; row < a.rows; ++row) {
      for (int64_t column = 0; column < b.columns; ++column) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < 33; ++k) {
          const double term =
              left.at(2 * row, 2 * k, kernel.arithmetic) * right.at(2 * k, 2 * column, kernel.arithmetic);
          sum += term, size += std::abs(term);
        }
        ASSERT_NEAR(c[static_cast<size_t>(row * b.columns + column)], sum, 2 * 34 * std::ldexp(1.0, -24) * size)
            << kernel.name << " at " << row << ", " << column;
      }
    }
  }
}

TEST_P(MicroKernels, ARowIsTheSameAloneAndAmongOthers) {
  const MicroKernel& kernel = *GetParam();
  const RandomMatrix left(kernel.rows, 301, DType::f32, false, 3);
  const RandomMatrix right(301, kernel.columns, DType::f32, false, 4);
  const Panels whole(kernel, left.view(), right.view());
  const int64_t padded = kernel.padded_depth(301);
  std::vector<float> all(static_cast<size_t>(kernel.rows * kernel.columns)), one(static_cast<size_t>(kernel.columns));
  kernel.multiply(padded, whole.a.data(), whole.b.data(), all.data(), kernel.columns, kernel.rows, kernel.columns,
                  false);
  for (int64_t row = 0; row < kernel.rows; ++row) {
    MatrixView alone = left.view();
    alone.data = static_cast<const float*>(alone.data) + row * alone.row_stride;
    alone.rows = 1;
    const Panels panels(kernel, alone, right.view());
    kernel.multiply(padded, panels.a.data(), panels.b.data(), one.data(), kernel.columns, 1, kernel.columns, false);
    EXPECT_EQ(std::memcmp(one.data(), all.data() + row * kernel.columns, one.size() * sizeof(float)), 0)
        << kernel.name << " row " << row;
  }
}

TEST_P(MicroKernels, FewRowsHaveTheSumsOfManyInBothForms) {
  const MicroKernel& kernel = *GetParam();
  const int64_t padded = kernel.padded_depth(301);
  for (int64_t rows = 1; rows <= kernel.few_rows; ++rows) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool by_columns : {false, true}) {
        const RandomMatrix left(rows, 301, dtype, by_columns, 3);
        const RandomMatrix right(301, kernel.columns - 1, dtype, false, 4);
        const Panels panels(kernel, left.view(), right.view());
        std::vector<std::byte> few(static_cast<size_t>(rows * padded) * size_of(kernel.a_operand) + 64,
                                   std::byte{0x5a});
        kernel.pack_few(left.view(), few.data());
        EXPECT_EQ(few[few.size() - 64], std::byte{0x5a}) << "pack_few wrote beyond its panel";
        std::vector<float> many(static_cast<size_t>(rows * kernel.columns), kCanary), own = many;
        for (const bool accumulate : {false, true}) {
          kernel.multiply(padded, panels.a.data(), panels.b.data(), many.data(), kernel.columns, rows,
                          kernel.columns - 1, accumulate);
          kernel.multiply_few(padded, few.data(), panels.b.data(), own.data(), kernel.columns, rows, kernel.columns - 1,
                              accumulate);
          ASSERT_EQ(std::memcmp(own.data(), many.data(), many.size() * sizeof(float)), 0) << kernel.name << rows;
        }
      }
    }
  }
}

/// bf16 rounding: halfway cases to even, overflow to infinity, NaN kept. One column picks one value of A.
TEST_P(MicroKernels, RoundOperandsToNearestEven) {
  const MicroKernel& kernel = *GetParam();
  const std::vector<float> values = {1.0f, 1.00390625f, 1.01171875f, 1.0039063f, -1.00390625f, 3.3961776e38f, 0.1f};
  for (const float value : values) {
    const float one = 1.0f;
    const MatrixView left{&value, DType::f32, 1, 1, 1, 1}, right{&one, DType::f32, 1, 1, 1, 1};
    const Panels panels(kernel, left, right);
    float result = 0;
    kernel.multiply(kernel.padded_depth(1), panels.a.data(), panels.b.data(), &result, 1, 1, 1, false);
    EXPECT_EQ(result, kernel.arithmetic == DType::f32 ? value : static_cast<float>(bf16::from(value))) << kernel.name;
    // The same through B, whose other columns are padding.
    const Panels swapped(kernel, right, left);
    kernel.multiply(kernel.padded_depth(1), swapped.a.data(), swapped.b.data(), &result, 1, 1, 1, false);
    EXPECT_EQ(result, kernel.arithmetic == DType::f32 ? value : static_cast<float>(bf16::from(value))) << kernel.name;
  }
}

/// The tests of the emulated tiles say something about the processor's only if both add in the same order.
TEST(MicroKernel, EmulatedTilesHaveTheProcessorsBits) {
  const auto named = [](std::string_view name) {
    const auto kernels = all_micro_kernels();
    const auto found = std::ranges::find(kernels, name, [](const MicroKernel* kernel) { return kernel->name; });
    return found == kernels.end() ? nullptr : *found;
  };
  const MicroKernel *processor = named("amx_bf16"), *emulated = named("amx_emulated");
  if (processor == nullptr || emulated == nullptr) GTEST_SKIP() << "this machine has no AMX";
  for (const int64_t rows : {processor->rows, int64_t{7}}) {
    const RandomMatrix left(rows, 301, DType::bf16, false, 3), right(301, processor->columns, DType::bf16, false, 4);
    for (const bool accumulate : {false, true}) {
      const std::vector<float> one = product(*processor, left, right, 0.3f, accumulate);
      const std::vector<float> other = product(*emulated, left, right, 0.3f, accumulate);
      EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof(float)), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MicroKernels, testing::ValuesIn(all_micro_kernels()),
                         [](const auto& kernel) { return std::string(kernel.param->name); });

TEST(MicroKernel, TheChosenOnesRunHere) {
  EXPECT_EQ(f32_micro_kernel().arithmetic, DType::f32);
  EXPECT_EQ(bf16_micro_kernel().arithmetic, DType::bf16);
}

}  // namespace
}  // namespace fledge::tensor::cpu
