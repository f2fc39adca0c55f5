#include "tensor/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tensor/elementwise.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using testing::arena;
using testing::make_normal;
using testing::values_of;

/// Two parts with a gap between their outputs, from rows of D that are not in their order.
LowRankMatrix make_matrix(int64_t inputs, DType type, uint64_t seed) {
  LowRankMatrix matrix;
  matrix.down = make_normal({7, inputs}, type, seed);
  matrix.parts.push_back(make_low_rank_part(make_normal({67, 4}, type, seed + 1), 1.0, 3, 0, type, arena()));
  matrix.parts.push_back(make_low_rank_part(make_normal({130, 3}, type, seed + 2), 1.0, 0, 70, type, arena()));
  return matrix;
}

struct Expected {
  double value = 0, size = 0;  ///< the sum, and that of the terms' magnitudes
};

Expected expected(const LowRankMatrix& matrix, const Tensor& x, int64_t row, int64_t part_index, int64_t output) {
  const LowRankMatrix::Part& part = matrix.parts[static_cast<size_t>(part_index)];
  const auto down = values_of(matrix.down), rows = values_of(x), up = values_of(part.up);
  const int64_t inputs = matrix.down.dim(1);
  Expected result;
  for (int64_t r = 0; r < part.rank; ++r) {
    const double u = up[static_cast<size_t>((output / 64 * part.rank + r) * 64 + output % 64)];
    for (int64_t i = 0; i < inputs; ++i) {
      const double term = rows[static_cast<size_t>(row * inputs + i)] *
                          down[static_cast<size_t>((part.first_rank + r) * inputs + i)] * u;
      result.value += term;
      result.size += std::abs(term);
    }
  }
  return result;
}

TEST(LowRank, IsTheProductOfBothMatricesInEveryType) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    const DType exact = type == DType::f64 ? DType::f64 : DType::f32;
    for (const int64_t inputs : {1, 37, 128}) {
      const LowRankMatrix matrix = make_matrix(inputs, type, 3);
      for (const int64_t rows : {0, 1, 2, 3, 9}) {
        const Tensor x = make_normal({rows, inputs}, type, 9);
        Tensor out = Tensor::empty({rows, 200}, exact, arena());
        fill(out, 5.0);
        multiply_low_rank(std::vector<LowRankRun>{{&matrix, x, out}});
        const auto got = values_of(out);
        for (int64_t row = 0; row < rows; ++row) {
          EXPECT_EQ(got[static_cast<size_t>(row * 200 + 68)], 5.0);
          for (const auto& [part, output] : {std::pair{0, 0}, {0, 63}, {0, 66}, {1, 0}, {1, 64}, {1, 129}}) {
            const Expected wanted = expected(matrix, x, row, part, output);
            const int64_t column = matrix.parts[static_cast<size_t>(part)].first_output + output;
            // One rounding of u and one for each term of either sum.
            EXPECT_NEAR(got[static_cast<size_t>(row * 200 + column)], wanted.value,
                        static_cast<double>(inputs + 8) * 0x1p-24 * wanted.size);
          }
        }
      }
    }
  }
}

TEST(LowRank, ARowDoesNotDependOnTheOthers) {
  const LowRankMatrix first = make_matrix(75, DType::bf16, 3), second = make_matrix(75, DType::bf16, 13);
  const Tensor x = make_normal({11, 75}, DType::bf16, 9);
  Tensor together = Tensor::empty({11, 200}, DType::f32, arena()),
         alone = Tensor::empty({11, 200}, DType::f32, arena());
  fill(together, 0.0);
  fill(alone, 0.0);
  multiply_low_rank(std::vector<LowRankRun>{{&first, x.slice(0, 0, 6), together.slice(0, 0, 6)},
                                            {&second, x.slice(0, 6, 5), together.slice(0, 6, 5)}});
  for (int64_t row = 0; row < 11; ++row) {
    multiply_low_rank(
        std::vector<LowRankRun>{{row < 6 ? &first : &second, x.slice(0, row, 1), alone.slice(0, row, 1)}});
  }
  EXPECT_EQ(values_of(together), values_of(alone));
}

TEST(LowRank, ScalesBeforeItRounds) {
  const Tensor up = make_normal({5, 2}, DType::f32, 1);
  const LowRankMatrix::Part part = make_low_rank_part(up, 0.3, 0, 0, DType::bf16, arena());
  const auto values = values_of(up), got = values_of(part.up);
  for (size_t output = 0; output < 5; ++output) {
    for (size_t r = 0; r < 2; ++r) {
      EXPECT_EQ(got[r * 64 + output],
                static_cast<double>(bf16::from(static_cast<float>(values[output * 2 + r] * 0.3))));
    }
  }
}

TEST(LowRank, RefusesWhatDoesNotFit) {
  const LowRankMatrix matrix = make_matrix(16, DType::f32, 3);
  const Tensor x = make_normal({2, 16}, DType::f32, 9), narrow = make_normal({2, 15}, DType::f32, 9);
  Tensor out = Tensor::empty({2, 200}, DType::f32, arena()), small = Tensor::empty({2, 199}, DType::f32, arena());
  EXPECT_THROW(multiply_low_rank(std::vector<LowRankRun>{{&matrix, narrow, out}}), base::Error);
  EXPECT_THROW(multiply_low_rank(std::vector<LowRankRun>{{&matrix, x, small}}), base::Error);
  EXPECT_THROW(multiply_low_rank(std::vector<LowRankRun>{{&matrix, x.slice(0, 0, 1), out}}), base::Error);
}

}  // namespace
}  // namespace fledge::tensor
