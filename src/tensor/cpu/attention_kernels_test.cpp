#include <fmt/format.h>
#include <gtest/gtest.h>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/reference/attention.h"

// Attention on every micro-kernel of this machine, and on portable ones with the panel layouts of machines that this
// one may not be: what attention takes for granted about a kernel is seen here and not on a user's machine.

namespace fledge::tensor::cpu {
namespace {

float element(const MatrixView& m, int64_t row, int64_t column) {
  const int64_t at = row * m.row_stride + column * m.column_stride;
  if (m.dtype == DType::f32) return static_cast<const float*>(m.data)[at];
  return static_cast<const bf16*>(m.data)[at];
}

constexpr int64_t kTile = 32;

/// Place of (lane, k) in a panel of tiles: left operands row by row, as TDPBF16PS reads its first tile.
int64_t left_place(int64_t lane, int64_t k) {
  return k / kTile * kTile * kTile + lane * kTile + k % kTile;
}
/// Right operands in pairs.
int64_t pair_place(int64_t lane, int64_t k) {
  return (k / 2 * kTile + lane) * 2 + k % 2;
}
/// Right operands as two tiles of 16 columns side by side.
int64_t half_place(int64_t lane, int64_t k) {
  return k / kTile * kTile * kTile + lane / 16 * 16 * kTile + (k % kTile / 2 * 16 + lane % 16) * 2 + k % 2;
}

template <int64_t (*place)(int64_t, int64_t)>
void pack_tiles(const MatrixView& rows, void* panel) {
  for (int64_t k = 0; k < (rows.columns + kTile - 1) / kTile * kTile; ++k) {
    for (int64_t lane = 0; lane < kTile; ++lane) {
      const bool inside = lane < rows.rows && k < rows.columns;
      static_cast<bf16*>(panel)[place(lane, k)] = bf16::from(inside ? element(rows, lane, k) : 0);
    }
  }
}

template <int64_t (*place)(int64_t, int64_t)>
void multiply_tiles(int64_t depth, const void* a, const void* b, float* c, int64_t c_stride, int64_t used_rows,
                    int64_t used_columns, bool accumulate) {
  for (int64_t row = 0; row < used_rows; ++row) {
    for (int64_t column = 0; column < used_columns; ++column) {
      float sum = 0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += static_cast<const bf16*>(a)[left_place(row, k)] * static_cast<const bf16*>(b)[place(column, k)];
      }
      c[row * c_stride + column] = accumulate ? c[row * c_stride + column] + sum : sum;
    }
  }
}

template <int64_t (*place)(int64_t, int64_t)>
MicroKernel tile_kernel() {
  return {"tiles",
          DType::bf16,
          DType::bf16,
          DType::bf16,
          kTile,
          kTile,
          kTile,
          1024,
          1024,
          pack_tiles<left_place>,
          [](const MatrixView& source, void* panel) { pack_tiles<place>(source.transposed(), panel); },
          multiply_tiles<place>};
}

/// q, k, v, out, d_out, d_q, d_k, d_v of one type, [B, T, H, D] contiguous, and the statistics.
template <typename T>
struct Arrays {
  std::vector<std::vector<T>> values;
  std::vector<double> statistics_f64;
  std::vector<float> statistics_f32;

  Arrays(const AttentionProblem& p, DType rounding) : values(8) {
    const int64_t tokens[] = {p.queries, p.keys, p.keys, p.queries, p.queries, p.queries, p.keys, p.keys};
    const int64_t heads[] = {p.heads, p.kv_heads, p.kv_heads, p.heads, p.heads, p.heads, p.kv_heads, p.kv_heads};
    for (size_t i = 0; i < 8; ++i) {
      const bool is_value = i == 2 || i == 3 || i == 4 || i == 7;
      const base::Random random(1, i);
      values[i].resize(static_cast<size_t>(p.batch * tokens[i] * heads[i] * (is_value ? p.value_size : p.head_size)));
      for (size_t at = 0; at < values[i].size(); ++at) {
        const auto value = static_cast<float>(random.normal(at));
        values[i][at] = convert<T>(rounding == DType::bf16 ? static_cast<float>(bf16::from(value)) : value);
      }
    }
    statistics_f64.resize(static_cast<size_t>(p.batch * p.heads * p.queries));
    statistics_f32.resize(statistics_f64.size());
  }

  AttentionView view(size_t i, int64_t tokens, int64_t heads, int64_t size) {
    return {reinterpret_cast<std::byte*>(values[i].data()), tokens * heads * size, heads * size, size};
  }
  void* statistics() {
    if constexpr (std::is_same_v<T, double>) return statistics_f64.data();
    return statistics_f32.data();
  }
  AttentionForward forward(const AttentionProblem& p) {
    return {view(0, p.queries, p.heads, p.head_size),
            view(1, p.keys, p.kv_heads, p.head_size),
            view(2, p.keys, p.kv_heads, p.value_size),
            view(3, p.queries, p.heads, p.value_size),
            statistics(),
            p.queries};
  }
  AttentionBackward backward(const AttentionProblem& p) {
    const AttentionForward f = forward(p);
    return {f.q,
            f.k,
            f.v,
            f.out,
            view(4, p.queries, p.heads, p.value_size),
            statistics(),
            view(5, p.queries, p.heads, p.head_size),
            view(6, p.keys, p.kv_heads, p.head_size),
            view(7, p.keys, p.kv_heads, p.value_size)};
  }
};

/// |actual - expected| / |expected| of a whole tensor.
template <typename T>
double relative_error(const std::vector<T>& actual, const std::vector<double>& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - expected[i];
    difference += d * d;
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

AttentionProblem problem(int64_t queries, int64_t keys, int64_t head_size, int64_t value_size, bool causal,
                         DType dtype) {
  AttentionProblem p{};
  p.batch = 2, p.queries = queries, p.keys = keys, p.heads = 4, p.kv_heads = 2;
  p.head_size = head_size, p.value_size = value_size;
  p.causal = causal, p.dtype = dtype, p.scale = 1 / std::sqrt(static_cast<double>(head_size));
  return p;
}

template <typename T>
void check(const MicroKernel& kernel, const AttentionProblem& p) {
  SCOPED_TRACE(fmt::format("{}: Tq {} Tk {} D {} Dv {}", kernel.name, p.queries, p.keys, p.head_size, p.value_size));
  const AttentionBlocks blocks(kernel);
  Arrays<double> expected(p, p.dtype);
  Arrays<T> actual(p, p.dtype);
  reference::attention_forward(p, expected.forward(p));
  attention_forward(p, actual.forward(p), blocks);
  reference::attention_backward(p, expected.backward(p));
  attention_backward(p, actual.backward(p), blocks);
  // Roundings of single values to bf16 are at most 2^-9 and average out over a tensor; f32 has its 2^-24, some tens of
  // times over.
  const double tolerance = p.dtype == DType::bf16 ? 0x1p-8 : 0x1p-19;
  for (const size_t i : {3, 5, 6, 7}) {
    EXPECT_LT(relative_error(actual.values[i], expected.values[i]), tolerance) << "tensor " << i;
  }

  // A query alone, with the keys before it as a cache, has the same bits.
  if (!p.causal) return;
  const int64_t query = p.queries * 2 / 3;
  AttentionProblem alone = p;
  alone.queries = 1, alone.keys = p.position(query) + 1;
  std::vector<T> out(static_cast<size_t>(p.batch * p.heads * p.value_size));
  AttentionForward tensors = actual.forward(p);
  tensors.q.data += query * tensors.q.token_stride * static_cast<int64_t>(sizeof(T));
  const AttentionView whole = tensors.out;
  tensors.out = {reinterpret_cast<std::byte*>(out.data()), p.heads * p.value_size, p.heads * p.value_size,
                 p.value_size};
  tensors.logsumexp = nullptr, tensors.logsumexp_stride = 0;
  attention_forward(alone, tensors, blocks);
  for (int64_t b = 0; b < p.batch; ++b) {
    const auto bytes = static_cast<size_t>(p.heads * p.value_size) * sizeof(T);
    EXPECT_EQ(std::memcmp(whole.row<T>(b, query, 0), tensors.out.row<T>(b, 0, 0), bytes), 0) << "row " << b;
  }
}

template <typename T>
void check_shapes(const MicroKernel& kernel) {
  for (const bool causal : {true, false}) {
    check<T>(kernel, problem(150, 150, 64, 64, causal, DTypeOf<T>::value));
    check<T>(kernel, problem(37, 161, 20, 24, causal, DTypeOf<T>::value));
    check<T>(kernel, problem(45, 45, 7, 33, causal, DTypeOf<T>::value));
  }
}

TEST(AttentionKernels, EveryKernelOfThisMachine) {
  for (const MicroKernel* kernel : all_micro_kernels()) {
    // Kernels narrower than this run's vectors are met where FLEDGE_INSTRUCTION_SET caps both.
    if (kernel->columns % tile_vector() != 0 || kernel->a_operand != kernel->b_operand) continue;
    if (kernel->arithmetic == DType::bf16) {
      check_shapes<bf16>(*kernel);
    } else {
      check_shapes<float>(*kernel);
    }
  }
}

TEST(AttentionKernels, TilesWithPairs) {
  const MicroKernel kernel = tile_kernel<pair_place>();
  EXPECT_EQ(AttentionBlocks(kernel).form, PanelForm::pairs);
  EXPECT_FALSE(AttentionBlocks(kernel).words_a);
  check_shapes<bf16>(kernel);
}

TEST(AttentionKernels, TilesSideBySide) {
  const MicroKernel kernel = tile_kernel<half_place>();
  EXPECT_EQ(AttentionBlocks(kernel).form, PanelForm::other);
  check_shapes<bf16>(kernel);
}

}  // namespace
}  // namespace fledge::tensor::cpu
