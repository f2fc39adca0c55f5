#include "tensor/embedding.h"

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

Tensor some_ids(int64_t count, int64_t vocabulary, uint64_t seed) {
  const base::Random random(seed, 0);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    // Every third one is the same, as a common word.
    ids[i] = i % 3 == 0 ? 1 : static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary), i));
  }
  return Tensor::from(ids, {count}, arena());
}

TEST(Embedding, TakesAndAddsRows) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const int64_t columns : odd_lengths()) {
      const Tensor ids = some_ids(50, 11, 1), table = make_normal({11, columns}, dtype, 2);
      const Tensor out = Tensor::empty({50, columns}, dtype, arena());
      embedding(ids, table, out);
      for (int64_t r = 0; r < 50; ++r) {
        const Tensor row = table.select(0, ids.data<int32_t>()[r]);
        ASSERT_EQ(bits_of(out.select(0, r)), bits_of(row));
      }
      on_every_target([&] {
        embedding(ids, table, out);
        embedding_add(ids, table, out);
        for (int64_t r = 0; r < 50; ++r) {
          const auto row = values_of(table.select(0, ids.data<int32_t>()[r]));
          const auto sum = values_of(out.select(0, r));
          for (size_t c = 0; c < row.size(); ++c) ASSERT_EQ(sum[c], 2 * row[c]);
        }
      });
    }
  }
}

TEST(Embedding, WidensABf16Table) {
  const Tensor ids = some_ids(9, 5, 1), table = make_normal({5, 33}, DType::bf16, 2);
  const Tensor out = Tensor::empty({9, 33}, DType::f32, arena());
  embedding(ids, table, out);
  for (int64_t r = 0; r < 9; ++r) {
    ASSERT_EQ(values_of(out.select(0, r)), values_of(table.select(0, ids.data<int32_t>()[r])));
  }
  embedding_add(ids, table, out);
  for (int64_t r = 0; r < 9; ++r) {
    std::vector<double> twice = values_of(table.select(0, ids.data<int32_t>()[r]));
    for (double& value : twice) value *= 2;
    ASSERT_EQ(values_of(out.select(0, r)), twice);
  }
  EXPECT_ERROR(embedding_backward(ids, out, table), "bf16");
}

TEST(EmbeddingBackward, AddsRowsInOrderWhateverTheThreads) {
  on_every_target([&] {
    for (const int64_t columns : {1, 17, 64, 130, 200}) {
      constexpr int64_t kCount = 700, kVocabulary = 13;
      const Tensor ids = some_ids(kCount, kVocabulary, 3), d_out = make_normal({kCount, columns}, DType::f32, 4);
      const Tensor start = make_normal({kVocabulary, columns}, DType::f32, 5);
      const Tensor expected = Tensor::empty(start.shape(), DType::f32, arena());
      copy(start, expected);
      for (int64_t r = 0; r < kCount; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          expected.data<float>()[ids.data<int32_t>()[r] * columns + c] += d_out.data<float>()[r * columns + c];
        }
      }
      for (const int threads : {1, 2, 7}) {
        const int before = base::thread_count();
        base::set_thread_count(threads);
        const Tensor d_table = Tensor::empty(start.shape(), DType::f32, arena());
        copy(start, d_table);
        embedding_backward(ids, d_out, d_table);
        base::set_thread_count(before);
        ASSERT_EQ(bits_of(d_table), bits_of(expected)) << threads << " threads, " << columns << " columns";
      }
    }
  });
  const Tensor ids = some_ids(9, 5, 6), d_out = make_normal({9, 3}, DType::f64, 7);
  const Tensor table = make_normal({5, 3}, DType::f64, 8), out = Tensor::empty({9, 3}, DType::f64, arena());
  const Tensor d_table = Tensor::zeros({5, 3}, DType::f64, arena());
  embedding_backward(ids, d_out, d_table);
  expect_gradient(table, d_table, [&] {
    embedding(ids, table, out);
    return dot(out, d_out);
  });
}

TEST(EmbeddingBackward, TouchesOnlyNamedRows) {
  const Tensor ids = Tensor::from(std::vector<int32_t>{2, 2}, {2}, arena());
  const Tensor d_out = make({1, 2, 3, 4}, {2, 2}, DType::f32);
  const Tensor d_table = make({NAN, NAN, NAN, NAN, 10, 20, NAN, NAN}, {4, 2}, DType::f32);
  embedding_backward(ids, d_out, d_table);
  const auto values = values_of(d_table);
  EXPECT_EQ(values[4], 14);
  EXPECT_EQ(values[5], 26);
  for (const size_t i : {0, 1, 2, 3, 6, 7}) EXPECT_TRUE(std::isnan(values[i]));
}

TEST(Embedding, RefusesIdsOutsideTheTable) {
  const Tensor table = make_normal({7, 2}, DType::f32, 1), out = make_normal({3, 2}, DType::f32, 1);
  const std::string before = bits_of(out);
  for (const int32_t bad : {7, -1, INT32_MAX, INT32_MIN}) {
    const Tensor ids = Tensor::from(std::vector<int32_t>{0, 6, bad}, {3}, arena());
    const std::string text =
        "got id " + std::to_string(bad) + " at place 2, expected at least 0 and less than the table's 7 rows";
    EXPECT_ERROR(embedding(ids, table, out), text);
    EXPECT_ERROR(embedding_add(ids, table, out), text);
    EXPECT_ERROR(embedding_backward(ids, out, table), text);
    EXPECT_EQ(bits_of(out), before);
  }
  const Tensor ids = Tensor::from(std::vector<int32_t>{0, 6}, {2}, arena());
  EXPECT_ERROR(embedding(ids, table, out), "[embedding] out: got f32 [3, 2], expected [2, 2]");
  EXPECT_ERROR(embedding(out, table, out), "[embedding] ids: got f32 [3, 2], expected i32 [R]");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({7, 2}, DType::f32, nowhere), places = Tensor::empty({7}, DType::i32, nowhere);
  embedding(places, shape, shape);
  embedding_backward(places, shape, shape);
}

}  // namespace
}  // namespace fledge::tensor
