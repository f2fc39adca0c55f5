#include "tensor/column_scale.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using testing::arena;
using testing::make_normal;
using testing::values_of;

TEST(ColumnScale, BackwardScalesAndSums) {
  const int64_t rows = 203, columns = 37;
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    const DType exact = type == DType::f64 ? DType::f64 : DType::f32;
    const Tensor d_y = make_normal({rows, columns}, type, 1), z = make_normal({rows, columns}, type, 2);
    const Tensor scale = make_normal({columns}, exact, 3);
    Tensor d_z = Tensor::empty({rows, columns}, type, arena()), d_scale = Tensor::empty({columns}, exact, arena());
    column_scale_backward(d_y, z, scale, d_z, d_scale);
    const auto d = values_of(d_y), product = values_of(z), factors = values_of(scale), got = values_of(d_z);
    std::vector<double> sums(columns), sizes(columns);
    for (size_t i = 0; i < d.size(); ++i) {
      const size_t column = i % columns;
      sums[column] += d[i] * product[i];
      sizes[column] += std::abs(d[i] * product[i]);
      ASSERT_NEAR(got[i], d[i] * factors[column], std::abs(got[i]) * (type == DType::bf16 ? 0x1p-8 : 0x1p-23));
    }
    const auto totals = values_of(d_scale);
    for (size_t c = 0; c < sums.size(); ++c) ASSERT_NEAR(totals[c], sums[c], 203 * 0x1p-23 * sizes[c]);
  }
}

TEST(ColumnScale, RowDotsAndNorms) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    const DType exact = type == DType::f64 ? DType::f64 : DType::f32;
    const Tensor wide = make_normal({9, 143}, type, 1), b = make_normal({9, 139}, type, 2);
    const Tensor a = wide.slice(1, 2, 139);
    Tensor dots = Tensor::empty({9}, exact, arena());
    row_dots(a, b, dots);
    const auto x = values_of(wide), y = values_of(b), got = values_of(dots);
    for (size_t r = 0; r < 9; ++r) {
      double sum = 0.0, size = 0.0;
      for (size_t c = 0; c < 139; ++c) {
        sum += x[r * 143 + c + 2] * y[r * 139 + c];
        size += std::abs(x[r * 143 + c + 2] * y[r * 139 + c]);
      }
      ASSERT_NEAR(got[r], sum, 139 * 0x1p-23 * size);
    }
  }
  const Tensor w = Tensor::from<double>({9.0, 0.0, 4.0}, {3}, arena()),
               cross = Tensor::from<double>({-3, 0, 1}, {3}, arena());
  const Tensor squares = Tensor::from<double>({1.0, 0.0, 9.0}, {3}, arena());
  Tensor norms = Tensor::empty({3}, DType::f64, arena());
  low_rank_norms(w, cross, squares, 2.0, norms);
  EXPECT_EQ(norms.to_vector<double>(), (std::vector<double>{1.0, 0.0, std::sqrt(44.0)}));
  divide(w, norms, norms);
  EXPECT_EQ(norms.to_vector<double>(), (std::vector<double>{9.0, 0.0, 4.0 / std::sqrt(44.0)}));
  add_above_one(w, 0.5, norms);
  EXPECT_EQ(norms.to_vector<double>()[0], 13.0);
}

TEST(ColumnScale, RefusesWhatDoesNotFit) {
  const Tensor a = make_normal({4, 8}, DType::f32, 1), wide = make_normal({4, 8}, DType::f64, 1);
  Tensor out = Tensor::empty({4}, DType::f32, arena());
  EXPECT_THROW(row_dots(a, wide, out), base::Error);
  EXPECT_THROW(row_dots(a.transpose(0, 1), a.transpose(0, 1), out), base::Error);
  EXPECT_THROW(scale_columns(a, out, a), base::Error);
  EXPECT_THROW(divide(out, make_normal({3}, DType::f32, 1), out), base::Error);
}

}  // namespace
}  // namespace fledge::tensor
