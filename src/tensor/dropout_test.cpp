#include "tensor/dropout.h"

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

/// The definition, an element at a time.
std::vector<double> expected_dropout(const std::vector<double>& x, double probability, const base::Random& random,
                                     uint64_t first_element) {
  std::vector<double> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const uint64_t position = first_element + i;
    const double number = random.block(position / 4)[position % 4];
    out[i] = number >= probability * 0x1p32 ? x[i] / (1 - probability) : 0;
  }
  return out;
}

TEST(Dropout, KeepsExactlyTheElementsOfItsDefinition) {
  const base::Random random(123456789012345, 77);
  on_every_target([&] {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      for (const double probability : {0.1, 0.5, 1e-10, 0.999}) {
        // Around the place where the counter of blocks needs a second word.
        for (const uint64_t first_element : {0ull, 1ull, 2ull, 3ull, 1027ull, (1ull << 34) - 501}) {
          for (const int64_t count : {0, 1, 5, 17, 1000, 1023, 2500}) {
            const Tensor x = make_normal({count}, dtype, 1, 3), out = Tensor::empty({count}, dtype, arena());
            dropout(x, probability, random, first_element, out);
            const auto expected = expected_dropout(values_of(x), probability, random, first_element);
            expect_close(out, expected, 0, dtype == DType::f64 ? 1e-15 : 0x1p-22);
          }
        }
      }
    }
  });
}

TEST(Dropout, IsTheSameInPiecesAndForAnyThreads) {
  const base::Random random(5, 6);
  const Tensor x = make_normal({50000}, DType::f32, 1), whole = Tensor::empty({50000}, DType::f32, arena());
  dropout(x, 0.3, random, 10, whole);
  int64_t kept = 0;
  for (const double value : values_of(whole)) kept += value != 0;
  EXPECT_NEAR(static_cast<double>(kept), 35000, 5 * std::sqrt(50000 * 0.3 * 0.7));  // five deviations
  with_thread_counts([&] {
    const Tensor pieces = Tensor::empty({50000}, DType::f32, arena());
    dropout(x.slice(0, 0, 33333), 0.3, random, 10, pieces.slice(0, 0, 33333));
    dropout(x.slice(0, 33333, 16667), 0.3, random, 10 + 33333, pieces.slice(0, 33333, 16667));
    EXPECT_EQ(bits_of(pieces), bits_of(whole));
  });
  dropout(x, 0.3, random, 10, x);
  EXPECT_EQ(bits_of(x), bits_of(whole));
}

TEST(Dropout, CopiesAtZeroAndRefusesOne) {
  const base::Random random(5, 6);
  const Tensor x = make_normal({100}, DType::bf16, 1), out = Tensor::empty({100}, DType::bf16, arena());
  dropout(x, 0, random, 0, out);
  EXPECT_EQ(bits_of(out), bits_of(x));
  for (const double bad : {1.0, -0.1, 1.5, static_cast<double>(NAN)}) {
    EXPECT_ERROR(dropout(x, bad, random, 0, out), "[dropout] got probability");
  }
  EXPECT_ERROR(dropout(x, 0.5, random, 0, make_normal({100}, DType::f32, 1)),
               "[dropout] out: got f32 [100], expected bf16");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({4}, DType::f32, nowhere);
  dropout(shape, 0.5, random, 0, shape);
}

}  // namespace
}  // namespace fledge::tensor
