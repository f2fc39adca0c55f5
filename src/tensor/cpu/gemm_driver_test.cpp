#include "tensor/cpu/gemm_driver.h"

#include <gtest/gtest.h>

#include <cmath>
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

INSTANTIATE_TEST_SUITE_P(All, Driver, testing::ValuesIn(all_micro_kernels()),
                         [](const auto& kernel) { return std::string(kernel.param->name); });

}  // namespace
}  // namespace fledge::tensor::cpu
