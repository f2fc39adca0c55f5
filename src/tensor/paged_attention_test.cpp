#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "tensor/attention.h"
#include "tensor/elementwise.h"

namespace fledge::tensor {
namespace {

Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed, Arena& arena) {
  const base::Random random(seed, 1);
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t index = 0; index < values.size(); ++index) {
    values[index] = static_cast<float>(random.uniform(index)) * 2 - 1;
  }
  Tensor result = Tensor::empty(shape, dtype, arena);
  copy(Tensor::from(values, shape, arena), result);
  return result;
}

std::vector<float> as_floats(const Tensor& tensor, Arena& arena) {
  Tensor wide = Tensor::empty(tensor.shape(), DType::f32, arena);
  copy(tensor, wide);
  return wide.to_vector<float>();
}

struct Heads {
  int64_t query, key, size, value_size;
};

/// Attention of whole rows, the reference: one sequence, all its tokens at once.
struct Row {
  Tensor q, k, v, out;
  Row(int64_t tokens, const Heads& heads, DType dtype, uint64_t seed, Arena& arena, int64_t window = 0)
      : q(random_tensor({1, tokens, heads.query, heads.size}, dtype, seed, arena)),
        k(random_tensor({1, tokens, heads.key, heads.size}, dtype, seed + 1, arena)),
        v(random_tensor({1, tokens, heads.key, heads.value_size}, dtype, seed + 2, arena)),
        out(Tensor::empty({1, tokens, heads.query, heads.value_size}, dtype, arena)) {
    Tensor none;
    AttentionOptions options;
    options.window = window;
    attention_forward(q, k, v, options, out, none);
  }
};

/// New tokens of every row, joined.
Tensor joined(const std::vector<Row>& rows, const std::vector<PagedSequence>& sequences, Tensor Row::*part,
              Arena& arena) {
  int64_t total = 0;
  for (const PagedSequence& sequence : sequences) total += sequence.count;
  const Shape& shape = (rows[0].*part).shape();
  Tensor result = Tensor::empty({total, shape[2], shape[3]}, (rows[0].*part).dtype(), arena);
  int64_t first = 0;
  for (size_t index = 0; index < rows.size(); ++index) {
    const PagedSequence& sequence = sequences[index];
    copy((rows[index].*part).select(0, 0).slice(0, sequence.length, sequence.count),
         result.slice(0, first, sequence.count));
    first += sequence.count;
  }
  return result;
}

void expect_same_bits(const Heads& heads, DType dtype, const std::vector<std::vector<int64_t>>& parts,
                      int64_t window = 0) {
  Arena arena("test");
  const int64_t page_tokens = attention_page_tokens(dtype);
  std::vector<Row> rows;
  std::vector<PagedSequence> sequences(parts.size());
  size_t steps = 0;
  int32_t next_page = 40;
  for (size_t index = 0; index < parts.size(); ++index) {
    int64_t tokens = 0;
    for (const int64_t count : parts[index]) tokens += count;
    rows.emplace_back(tokens, heads, dtype, 10 * index, arena, window);
    for (int64_t page = 0; page * page_tokens < tokens; ++page) {
      sequences[index].pages.push_back(next_page);
      next_page = (next_page + 17) % 41;  // scattered, no page twice
    }
    steps = std::max(steps, parts[index].size());
  }
  PagedKeyValues cache = make_paged_key_values(41, heads.key, heads.size, heads.value_size, dtype, arena);
  for (size_t step = 0; step < steps; ++step) {
    for (size_t index = 0; index < parts.size(); ++index) {
      sequences[index].count = step < parts[index].size() ? parts[index][step] : 0;
    }
    const Tensor expected = joined(rows, sequences, &Row::out, arena);
    Tensor out = Tensor::empty(expected.shape(), dtype, arena);
    paged_attention(joined(rows, sequences, &Row::q, arena), joined(rows, sequences, &Row::k, arena),
                    joined(rows, sequences, &Row::v, arena), cache, sequences,
                    1 / std::sqrt(static_cast<double>(heads.size)), out, window);
    EXPECT_EQ(as_floats(out, arena), as_floats(expected, arena)) << name_of(dtype) << " step " << step;
    for (PagedSequence& sequence : sequences) sequence.length += sequence.count;
  }
}

TEST(PagedAttention, HasTheBitsOfARowInOnePiece) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    expect_same_bits({6, 2, 16, 16}, dtype, {{5, 1, 1}, {300, 1, 2}, {1, 40, 130, 1}, {0, 7}});
    expect_same_bits({3, 3, 24, 8}, dtype, {{1, 1}, {129}});
    expect_same_bits({9, 3, 64, 64}, dtype, {{1}, {2, 1, 3}});
    expect_same_bits({4, 2, 33, 40}, dtype, {{131, 1, 1, 5}, {1, 127}});
    for (const int64_t window : {1, 70, 1000}) {
      expect_same_bits({6, 2, 16, 16}, dtype, {{5, 1, 1}, {300, 1, 2}, {1, 40, 130, 1}}, window);
    }
  }
}

TEST(PagedAttention, SharedPagesAreReadByAll) {
  Arena arena("test");
  const Heads heads{2, 1, 8, 8};
  const int64_t page_tokens = attention_page_tokens(DType::f32);
  const Row row(page_tokens + 3, heads, DType::f32, 5, arena);
  PagedKeyValues cache = make_paged_key_values(3, 1, 8, 8, DType::f32, arena);
  const auto run = [&](std::vector<PagedSequence> sequences) {
    const Tensor q = joined({row, row}, sequences, &Row::q, arena), k = joined({row, row}, sequences, &Row::k, arena),
                 v = joined({row, row}, sequences, &Row::v, arena);
    Tensor out = Tensor::empty(q.shape(), DType::f32, arena);
    paged_attention(q, k, v, cache, sequences, 1 / std::sqrt(8.0), out);
    EXPECT_EQ(as_floats(out, arena), as_floats(joined({row, row}, sequences, &Row::out, arena), arena));
  };
  run({{0, page_tokens, {2}}, {0, 0, {}}});
  run({{page_tokens, 3, {2, 0}}, {page_tokens, 3, {2, 1}}});
}

TEST(PagedAttention, RefusesPagesThatDoNotFit) {
  Arena arena("test");
  const int64_t page_tokens = attention_page_tokens(DType::f32);
  const PagedKeyValues cache = make_paged_key_values(2, 1, 8, 8, DType::f32, arena);
  const Tensor x = Tensor::zeros({3, 1, 8}, DType::f32, arena);
  Tensor out = Tensor::zeros({3, 1, 8}, DType::f32, arena);
  const auto refuse = [&](const PagedSequence& sequence, const char* sentence) {
    try {
      paged_attention(x, x, x, cache, std::vector{sequence}, 1.0, out);
      FAIL() << sentence;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence));
    }
  };
  refuse({0, 3, {}}, "has 0 pages, expected 1");
  refuse({0, 3, {2}}, "page 2");
  refuse({0, 3, {-1}}, "page -1");
  refuse({0, 2, {0}}, "have 2 tokens and q has 3");
  refuse({page_tokens - 1, 3, {0}}, "has 1 pages, expected 2");
}

}  // namespace
}  // namespace fledge::tensor
