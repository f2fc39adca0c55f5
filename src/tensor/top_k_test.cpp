#include "tensor/top_k.h"

#include <algorithm>
#include <numeric>

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

TEST(TopK, AgreesWithASort) {
  on_every_target([&] {
    for (const int64_t columns : {1, 5, 100, 5003}) {
      for (const int64_t count : {int64_t{1}, int64_t{7}, columns}) {
        if (count > columns) continue;
        constexpr int64_t kRows = 4;
        const Tensor logits = make_normal({kRows, columns}, DType::f32, 3, 10, 3);
        // Equal logits, of which the lower id comes first.
        if (columns > 50) logits.data<float>()[20] = logits.data<float>()[40] = 40;
        const Tensor ids = Tensor::empty({kRows, count}, DType::i32, arena()),
                     logs = Tensor::empty({kRows, count}, DType::f32, arena()),
                     tails = Tensor::empty({kRows}, DType::f32, arena());
        top_k(logits, 2.0, ids, logs, tails);
        for (int64_t r = 0; r < kRows; ++r) {
          const float* row = logits.data<float>() + r * columns;
          std::vector<int32_t> order(static_cast<size_t>(columns));
          std::iota(order.begin(), order.end(), 0);
          std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return row[a] > row[b]; });
          double sum = 0, listed = 0;
          for (int64_t c = 0; c < columns; ++c) sum += std::exp((row[c] - row[order[0]]) / 2.0);
          for (int64_t k = 0; k < count; ++k) {
            const int32_t id = order[static_cast<size_t>(k)];
            EXPECT_EQ(ids.data<int32_t>()[r * count + k], id);
            const double expected = (row[id] - row[order[0]]) / 2.0 - std::log(sum);
            EXPECT_NEAR(logs.data<float>()[r * count + k], expected, 1e-6 * (1 + std::abs(expected)));
            listed += std::exp(expected);
          }
          EXPECT_NEAR(tails.data<float>()[r], count == columns ? 0 : 1 - listed, 2e-6);
        }
      }
    }
  });
}

TEST(TopK, RefusesWrongOperands) {
  const Tensor logits = make_normal({2, 3}, DType::f32, 1), tails = Tensor::empty({2}, DType::f32, arena());
  EXPECT_ERROR(
      top_k(logits, 1, Tensor::empty({2, 4}, DType::i32, arena()), Tensor::empty({2, 4}, DType::f32, arena()), tails),
      "[top_k] got 4 of 3 logits");
}

}  // namespace
}  // namespace fledge::tensor
