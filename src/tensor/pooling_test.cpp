#include "tensor/pooling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace fledge::tensor {
namespace {

TEST(Pooling, EverySegmentBecomesOneRow) {
  Arena arena("test");
  const std::vector<float> values{1, -2, 3, 4, 5, -6, 7, 8};
  const Tensor x = Tensor::from(values, {4, 2}, arena);
  const Tensor offsets = Tensor::from(std::vector<int32_t>{0, 1, 4}, {3}, arena);
  const auto pooled = [&](Pooling pooling) {
    Tensor out = Tensor::empty({2, 2}, DType::f32, arena);
    pool_rows(x, offsets, pooling, out);
    return out.to_vector<float>();
  };
  EXPECT_EQ(pooled(Pooling::mean), (std::vector<float>{1, -2, 5, 2}));
  EXPECT_EQ(pooled(Pooling::max), (std::vector<float>{1, -2, 7, 8}));
  EXPECT_EQ(pooled(Pooling::first), (std::vector<float>{1, -2, 3, 4}));
  const std::vector<float> root = pooled(Pooling::mean_sqrt);
  EXPECT_FLOAT_EQ(root[2], 15.0f / std::sqrt(3.0f));
  EXPECT_FLOAT_EQ(root[3], 6.0f / std::sqrt(3.0f));
}

TEST(Pooling, RefusesSegmentsThatAreEmptyOrOutside) {
  Arena arena("test");
  const Tensor x = Tensor::zeros({4, 2}, DType::f64, arena);
  for (const std::vector<int32_t>& bad : {std::vector<int32_t>{0, 0}, {-1, 2}, {3, 5}, {3, 1}}) {
    Tensor out = Tensor::empty({1, 2}, DType::f64, arena);
    EXPECT_THROW(pool_rows(x, Tensor::from(bad, {2}, arena), Pooling::mean, out), base::Error);
  }
}

TEST(Pooling, NormalizesRowsAndLeavesZerosAlone) {
  Arena arena("test");
  Tensor x = Tensor::from(std::vector<double>{3, 4, 0, 0}, {2, 2}, arena);
  normalize_rows(x);
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{0.6, 0.8, 0, 0}));
}

}  // namespace
}  // namespace fledge::tensor
