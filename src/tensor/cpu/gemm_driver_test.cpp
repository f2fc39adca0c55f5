#include "tensor/cpu/gemm_driver.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace fledge::tensor::cpu {
namespace {

class Driver : public testing::TestWithParam<const MicroKernel*> {};

std::vector<bf16> random_values(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<bf16> values(static_cast<size_t>(count));
  for (bf16& value : values) value = bf16::from(normal(engine));
  return values;
}

struct Size {
  int64_t rows, depth, columns;
};

MatrixView matrix(const std::vector<bf16>& values, int64_t rows, int64_t columns, bool by_columns) {
  return {values.data(), DType::bf16, rows, columns, by_columns ? 1 : columns, by_columns ? rows : 1};
}

/// bf16 values multiply exactly; each of the K additions rounds by 2^-24 of what has been summed at most.
void expect_product(const MicroKernel& kernel, const Size& size, bool by_columns, bool packed) {
  const std::vector<bf16> left = random_values(size.rows * size.depth, 1);
  const std::vector<bf16> right = random_values(size.depth * size.columns, 2);
  const MatrixView a = matrix(left, size.rows, size.depth, by_columns),
                   b = matrix(right, size.depth, size.columns, false);
  std::vector<float> out(static_cast<size_t>(size.rows * size.columns), NAN);
  const int64_t panels = (size.columns + kernel.columns - 1) / kernel.columns;
  std::vector<std::byte> memory(static_cast<size_t>(panels * kernel.b_panel_bytes(size.depth)));
  pack_panels(kernel, b, memory.data());
  Product product{a, b, packed ? memory.data() : nullptr, {}};
  product.epilogue.out = out.data();
  product.epilogue.out_stride = size.columns;
  multiply(kernel, product);
  for (int64_t row = 0; row < size.rows; ++row) {
    for (int64_t column = 0; column < size.columns; ++column) {
      double sum = 0, terms = 0;
      for (int64_t k = 0; k < size.depth; ++k) {
        const double term = static_cast<double>(left[static_cast<size_t>(row * a.row_stride + k * a.column_stride)]) *
                            static_cast<double>(right[static_cast<size_t>(k * size.columns + column)]);
        sum += term;
        terms += std::abs(term);
      }
      ASSERT_NEAR(out[static_cast<size_t>(row * size.columns + column)], sum,
                  2 * static_cast<double>(size.depth + 1) * std::ldexp(1.0, -24) * terms)
          << kernel.name << " at " << row << ", " << column;
    }
  }
}

TEST_P(Driver, MultipliesWholeMatrices) {
  // Whole panels and ragged ones, a depth of whole units and one that is padded, several steps and blocks.
  for (const Size& size : {Size{64, 64, 64}, Size{70, 96, 45}, Size{33, 75, 100}, Size{37, 2112, 40}}) {
    for (const bool by_columns : {false, true}) {
      for (const bool packed : {false, true}) expect_product(*GetParam(), size, by_columns, packed);
    }
  }
}

/// Values with what a narrow panel cannot say in 4 bits: zeros, subnormal, tiny, huge, infinite.
std::vector<bf16> values_of_all_sizes(int64_t count, int64_t every) {
  std::vector<bf16> values = random_values(count, 3);
  const float odd[] = {0.0f, -0.0f, 1e-39f, -1e-30f, 3e-5f, 1e30f, -1e20f};
  for (int64_t i = 0, kind = 0; i < count; i += every, ++kind) {
    values[static_cast<size_t>(i)] = bf16::from(odd[kind % std::size(odd)]);
  }
  return values;
}

struct NarrowMatrix {
  std::vector<std::byte> panels;
  std::vector<uint32_t> exceptions;

  NarrowMatrix(const MicroKernel& kernel, const MatrixView& b)
      : panels(static_cast<size_t>((b.columns + kernel.columns - 1) / kernel.columns *
                                   narrow_panel_bytes(kernel, b.rows))),
        exceptions(pack_narrow_panels(kernel, b, panels.data())) {}
};

std::vector<float> run(const MicroKernel& kernel, Product product) {
  std::vector<float> out(static_cast<size_t>(product.a.rows * product.b.columns), NAN);
  product.epilogue.out = out.data();
  product.epilogue.out_stride = product.b.columns;
  multiply(kernel, product);
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class NarrowDriver : public Driver {};

TEST_P(NarrowDriver, NarrowPanelsGiveTheSameBits) {
  const MicroKernel& kernel = *GetParam();
  for (const Size& size :
       {Size{1, 1, 1}, Size{1, 576, 100}, Size{3, 75, 33}, Size{8, 2112, 40}, Size{33, 98, 64}, Size{70, 4099, 45}}) {
    for (const bool by_columns : {false, true}) {
      const std::vector<bf16> left = random_values(size.rows * size.depth, 1);
      const std::vector<bf16> right = values_of_all_sizes(size.depth * size.columns, 301);
      const MatrixView a = matrix(left, size.rows, size.depth, false),
                       b = matrix(right, size.depth, size.columns, by_columns);
      const NarrowMatrix narrow(kernel, b);
      ASSERT_FALSE(narrow.exceptions.empty()) << size.depth << " x " << size.columns;
      Product product{a, b, nullptr, {}};
      const std::vector<float> expected = run(kernel, product);
      product.narrow_b = {narrow.panels.data(), narrow.exceptions.data()};
      EXPECT_TRUE(same_bits(run(kernel, product), expected))
          << size.rows << " x " << size.depth << " x " << size.columns << (by_columns ? " by columns" : "");
    }
  }
}

TEST_P(NarrowDriver, ColumnsWithAFewLargeValuesStayNarrow) {
  const MicroKernel& kernel = *GetParam();
  std::vector<bf16> values = random_values(512 * 32, 4);
  for (size_t i = 0; i < 32; ++i) values[i] = bf16::from(1e9f);
  const NarrowMatrix narrow(kernel, matrix(values, 512, 32, false));
  ASSERT_GE(narrow.exceptions.size(), 3u);
  // At least the large one of each column, and few others.
  EXPECT_GE(narrow.exceptions[2], 32u);
  EXPECT_LT(narrow.exceptions[2], 64u);
}

TEST_P(NarrowDriver, ValuesOfEverySizeAreNotMadeNarrow) {
  const MicroKernel& kernel = *GetParam();
  std::vector<bf16> values = random_values(512 * 32, 5);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = bf16::from(std::ldexp(static_cast<float>(values[i]), static_cast<int>(i / 32 % 60) - 30));
  }
  EXPECT_TRUE(NarrowMatrix(kernel, matrix(values, 512, 32, false)).exceptions.empty());
}

std::vector<const MicroKernel*> narrow_kernels() {
  std::vector<const MicroKernel*> kernels = all_micro_kernels();
  std::erase_if(kernels, [](const MicroKernel* kernel) { return kernel->narrow == nullptr; });
  return kernels;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(NarrowDriver);
INSTANTIATE_TEST_SUITE_P(Narrow, NarrowDriver, testing::ValuesIn(narrow_kernels()),
                         [](const auto& kernel) { return std::string(kernel.param->name); });
INSTANTIATE_TEST_SUITE_P(All, Driver, testing::ValuesIn(all_micro_kernels()),
                         [](const auto& kernel) { return std::string(kernel.param->name); });

}  // namespace
}  // namespace fledge::tensor::cpu
