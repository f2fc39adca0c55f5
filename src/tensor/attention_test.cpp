#include "tensor/attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "tensor/cpu/micro_kernel.h"

namespace fledge::tensor {
namespace {

using ::testing::HasSubstr;

struct Case {
  int64_t batch = 2, queries = 7, keys = 7, heads = 2, kv_heads = 2, head_size = 8, value_size = 8;
  bool causal = true, documents = false, strided = false;
  double dropout = 0, scale = 0;
};

std::string text(const Case& c) {
  return fmt::format("B {} Tq {} Tk {} H {} Hkv {} D {} Dv {} causal {} documents {} strided {} dropout {}", c.batch,
                     c.queries, c.keys, c.heads, c.kv_heads, c.head_size, c.value_size, c.causal, c.documents,
                     c.strided, c.dropout);
}

/// Every tensor of one attention call, forward and backward, in one type.
struct Tensors {
  Tensor q, k, v, out, logsumexp, d_out, d_q, d_k, d_v;
};

class Attention {
 public:
  explicit Attention(const Case& c) : c_(c) {
    options_.causal = c.causal, options_.scale = c.scale;
    options_.dropout = c.dropout, options_.random = &dropout_random_, options_.first_sample = 5;
    if (!c.documents) return;
    // Documents of 1 to 9 queries that start in the middle of what is already in the cache; one query sees nothing.
    std::vector<int32_t> starts, ends;
    for (int64_t b = 0; b < c.batch; ++b) {
      int64_t start = 0, end = 0;
      for (int64_t i = 0; i < c.queries; ++i) {
        const int64_t position = c.keys - c.queries + i;
        if (position >= end) {
          start = i == 0 ? position / 2 : position;
          end = position + 1 + static_cast<int64_t>(random_.below(9, static_cast<uint64_t>(b * 1000 + i)));
        }
        starts.push_back(static_cast<int32_t>(i == 3 ? position + 1 : start));
        ends.push_back(static_cast<int32_t>(i == 3 ? position + 1 : end));
      }
    }
    options_.document_starts = Tensor::from(starts, {c.batch, c.queries}, arena_);
    options_.document_ends = Tensor::from(ends, {c.batch, c.queries}, arena_);
  }

  /// Normal values rounded to `rounding`, the same for every T; outputs start as NaN.
  template <typename T, typename Rounding>
  Tensors make() {
    const Shape q_shape{c_.batch, c_.queries, c_.heads, c_.head_size};
    const Shape k_shape{c_.batch, c_.keys, c_.kv_heads, c_.head_size};
    const Shape v_shape{c_.batch, c_.keys, c_.kv_heads, c_.value_size};
    const Shape out_shape{c_.batch, c_.queries, c_.heads, c_.value_size};
    Tensors t;
    t.q = fill<T, Rounding>(place<T>(q_shape, c_.heads), 1);
    t.k = fill<T, Rounding>(place<T>(k_shape, c_.kv_heads), 2);
    t.v = fill<T, Rounding>(place<T>(v_shape, c_.kv_heads), 3);
    t.d_out = fill<T, Rounding>(place<T>(out_shape, 1), 4);
    t.out = fill<T, Rounding>(place<T>(out_shape, 2), 0);
    t.d_q = fill<T, Rounding>(place<T>(q_shape, 3), 0);
    t.d_k = fill<T, Rounding>(place<T>(k_shape, 0), 0);
    t.d_v = fill<T, Rounding>(place<T>(v_shape, 1), 0);
    const DType statistics = std::is_same_v<T, double> ? DType::f64 : DType::f32;
    t.logsumexp = Tensor::empty({c_.batch, c_.heads, c_.queries}, statistics, arena_);
    return t;
  }

  void forward(Tensors& t) const { attention_forward(t.q, t.k, t.v, options_, t.out, t.logsumexp); }
  void backward(Tensors& t) const {
    attention_backward(t.q, t.k, t.v, t.out, t.d_out, t.logsumexp, options_, t.d_q, t.d_k, t.d_v);
  }

  const AttentionOptions& options() const { return options_; }
  AttentionOptions& options() { return options_; }
  Arena& arena() { return arena_; }

 private:
  /// A tensor of its own, or a slice between the heads of other tensors, as in a buffer of queries, keys and values.
  template <typename T>
  Tensor place(const Shape& shape, int64_t heads_before) {
    if (!c_.strided) return Tensor::zeros(shape, DTypeOf<T>::value, arena_);
    Shape wide = shape;
    wide[2] += heads_before + 1;
    return Tensor::zeros(wide, DTypeOf<T>::value, arena_).slice(2, heads_before, shape[2]);
  }

  /// Stream 0 stands for NaN.
  template <typename T, typename Rounding>
  Tensor fill(Tensor tensor, uint64_t stream) {
    const base::Random random(11, stream);
    uint64_t position = 0;
    for (int64_t b = 0; b < tensor.dim(0); ++b) {
      for (int64_t t = 0; t < tensor.dim(1); ++t) {
        for (int64_t h = 0; h < tensor.dim(2); ++h) {
          for (int64_t d = 0; d < tensor.dim(3); ++d) {
            T* element = tensor.data<T>() + b * tensor.stride(0) + t * tensor.stride(1) + h * tensor.stride(2) + d;
            const double value = stream == 0 ? std::numeric_limits<double>::quiet_NaN() : random.normal(position++);
            *element = convert<T>(static_cast<double>(convert<Rounding>(value)));
          }
        }
      }
    }
    return tensor;
  }

  Case c_;
  Arena arena_{"test"};
  base::Random random_{3, 0}, dropout_random_{7, 9};
  AttentionOptions options_;
};

template <typename T>
std::vector<double> values(const Tensor& tensor) {
  std::vector<double> result;
  for (const T value : tensor.to_vector<T>()) result.push_back(static_cast<double>(value));
  return result;
}

/// The worst row's |actual - expected| over the sum of that row's expected norm, the usual norm of a row and 1: a row
/// whose exact value is a difference that cancels, such as dQ of a query that sees one key, keeps the rounding of its
/// terms, which are of order 1 or more for the values here.
double worst_row_error(const std::vector<double>& actual, const std::vector<double>& expected, int64_t row_size) {
  double usual = 0;
  for (const double value : expected) usual += value * value;
  usual = std::sqrt(usual / static_cast<double>(expected.size() / static_cast<size_t>(row_size)));
  double worst = 0;
  for (size_t row = 0; row < expected.size(); row += static_cast<size_t>(row_size)) {
    double difference = 0, norm = 0;
    for (size_t i = row; i < row + static_cast<size_t>(row_size); ++i) {
      difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
      norm += expected[i] * expected[i];
    }
    const double error = std::sqrt(difference) / (std::sqrt(norm) + usual + 1);
    if (!(error <= worst)) worst = error;  // also takes a NaN
  }
  return worst;
}

/// Attention as the formula on paper, with the whole matrix of weights, for the reference to be held against.
std::vector<double> plain_attention(const Case& c, const AttentionOptions& options, const Tensors& t) {
  const auto q = values<double>(t.q), k = values<double>(t.k), v = values<double>(t.v);
  const double scale = options.scale == 0 ? 1 / std::sqrt(static_cast<double>(c.head_size)) : options.scale;
  std::vector<double> out;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t i = 0; i < c.queries; ++i) {
      for (int64_t h = 0; h < c.heads; ++h) {
        const int64_t kv_head = h * c.kv_heads / c.heads;
        std::vector<double> weights;
        double sum = 0;
        for (int64_t j = 0; j < c.keys; ++j) {
          bool seen = !c.causal || j <= i + c.keys - c.queries;
          if (options.document_starts) {
            seen = seen && j >= options.document_starts.data<int32_t>()[b * c.queries + i];
            seen = seen && j < options.document_ends.data<int32_t>()[b * c.queries + i];
          }
          double score = 0;
          for (int64_t d = 0; d < c.head_size; ++d) {
            score += q[static_cast<size_t>(((b * c.queries + i) * c.heads + h) * c.head_size + d)] *
                     k[static_cast<size_t>(((b * c.keys + j) * c.kv_heads + kv_head) * c.head_size + d)];
          }
          weights.push_back(seen ? std::exp(scale * score) : 0);
          sum += weights.back();
        }
        for (int64_t d = 0; d < c.value_size; ++d) {
          double value = 0;
          for (int64_t j = 0; j < c.keys && sum > 0; ++j) {
            value += weights[static_cast<size_t>(j)] / sum *
                     v[static_cast<size_t>(((b * c.keys + j) * c.kv_heads + kv_head) * c.value_size + d)];
          }
          out.push_back(value);
        }
      }
    }
  }
  return out;
}

std::vector<Case> small_cases() {
  return {{},
          {.causal = false},
          {.documents = true},
          {.causal = false, .documents = true, .strided = true},
          {.queries = 3, .keys = 9, .heads = 4, .value_size = 5, .strided = true},
          {.queries = 5, .keys = 5, .heads = 6, .head_size = 3, .value_size = 4, .scale = 0.7},
          {.queries = 4, .keys = 2, .causal = false, .scale = 1.5}};
}

TEST(AttentionReference, FollowsTheFormula) {
  for (const Case& c : small_cases()) {
    Attention attention(c);
    Tensors t = attention.make<double, double>();
    attention.forward(t);
    // Sums of tens of terms of order 1 in f64.
    EXPECT_LT(worst_row_error(values<double>(t.out), plain_attention(c, attention.options(), t), c.value_size), 1e-14)
        << text(c);
  }
}

/// Sum of out * d_out, whose gradient the backward pass gives.
double loss(const Attention& attention, Tensors t) {
  attention.forward(t);
  const auto out = values<double>(t.out), d_out = values<double>(t.d_out);
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) sum += out[i] * d_out[i];
  return sum;
}

void check_differences(const Attention& attention, const Tensors& t, const Tensor& input, const Tensor& gradient) {
  // Central differences: an error of h^2 f''' / 6, about 1e-9 here, and one of 1e-16 |loss| / h, about 1e-10.
  constexpr double kStep = 3e-5;
  const auto expected = values<double>(gradient);
  size_t index = 0;
  for (int64_t b = 0; b < input.dim(0); ++b) {
    for (int64_t i = 0; i < input.dim(1); ++i) {
      for (int64_t h = 0; h < input.dim(2); ++h) {
        for (int64_t d = 0; d < input.dim(3); ++d) {
          double& element = input.data<double>()[b * input.stride(0) + i * input.stride(1) + h * input.stride(2) + d];
          const double before = element;
          element = before + kStep;
          const double above = loss(attention, t);
          element = before - kStep;
          const double below = loss(attention, t);
          element = before;
          ASSERT_NEAR((above - below) / (2 * kStep), expected[index++], 2e-8);
        }
      }
    }
  }
}

TEST(AttentionReference, GradientsFollowFiniteDifferences) {
  std::vector<Case> cases = small_cases();
  cases.push_back({.heads = 4, .dropout = 0.3});
  for (Case c : cases) {
    SCOPED_TRACE(text(c));
    Attention attention(c);
    Tensors t = attention.make<double, double>();
    attention.forward(t);
    attention.backward(t);
    check_differences(attention, t, t.q, t.d_q);
    check_differences(attention, t, t.k, t.d_k);
    check_differences(attention, t, t.v, t.d_v);
  }
}

/// What a type's arithmetic allows, relative to the norm of a row.
/// f32: sums of up to 200 terms, and scores of order 10 in the exponent, each with a relative rounding of 6e-8.
/// bf16: each weight and each result is rounded by up to 2^-9; in the gradients the weights, their gradients, the
/// results and, in delta, the forward pass's output. A head of one element has no other elements for roundings to
/// average over.
template <typename T>
struct Tolerance;
template <>
struct Tolerance<float> {
  static constexpr double out = 2e-6, gradient = 5e-6, logsumexp = 2e-6;
};
template <>
struct Tolerance<bf16> {
  static constexpr double out = 0x1p-8, gradient = 2 * 0x1p-8, logsumexp = 2e-6;
};

template <typename T>
void check_against_reference(const Case& c) {
  SCOPED_TRACE(text(c));
  Attention attention(c);
  Tensors expected = attention.make<double, T>(), actual = attention.make<T, T>();
  attention.forward(expected);
  attention.forward(actual);
  attention.backward(expected);
  attention.backward(actual);
  const auto error = [](const Tensor& a, const Tensor& e) {
    return worst_row_error(values<T>(a), values<double>(e), e.dim(3));
  };
  EXPECT_LE(error(actual.out, expected.out), Tolerance<T>::out);
  EXPECT_LE(error(actual.d_q, expected.d_q), Tolerance<T>::gradient);
  EXPECT_LE(error(actual.d_k, expected.d_k), Tolerance<T>::gradient);
  EXPECT_LE(error(actual.d_v, expected.d_v), Tolerance<T>::gradient);
  const auto logsumexp = values<float>(actual.logsumexp), wanted = values<double>(expected.logsumexp);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::isinf(wanted[i])) {
      EXPECT_EQ(logsumexp[i], wanted[i]);
    } else {
      EXPECT_NEAR(logsumexp[i], wanted[i], Tolerance<T>::logsumexp * (1 + std::abs(wanted[i])));
    }
  }
}

std::vector<Case> fast_cases() {
  std::vector<Case> cases;
  for (const int64_t tokens : {1, 2, 7, 63, 64, 65, 130}) {
    for (const bool causal : {true, false}) {
      cases.push_back({.queries = tokens, .keys = tokens, .head_size = 64, .value_size = 64, .causal = causal});
      cases.push_back({.batch = 1,
                       .queries = tokens,
                       .keys = tokens,
                       .head_size = 20,
                       .value_size = 20,
                       .causal = causal,
                       .documents = true,
                       .strided = true});
    }
  }
  for (const int64_t size : {1, 8, 20, 64, 80, 128}) {
    cases.push_back({.batch = 1, .queries = 70, .keys = 70, .head_size = size, .value_size = size, .strided = true});
    cases.push_back(
        {.batch = 1, .queries = 33, .keys = 150, .heads = 6, .head_size = size, .value_size = size / 2 + 1});
  }
  cases.push_back({.queries = 1, .keys = 200, .heads = 4, .kv_heads = 1, .head_size = 64, .value_size = 64});
  cases.push_back({.queries = 3, .keys = 200, .documents = true, .dropout = 0.2});
  cases.push_back({.queries = 200, .keys = 77, .head_size = 16, .value_size = 16, .causal = false});
  cases.push_back({.queries = 300, .keys = 300, .kv_heads = 1, .head_size = 16, .value_size = 16, .documents = true});
  cases.push_back({.queries = 90, .keys = 140, .head_size = 32, .value_size = 32, .dropout = 0.2, .scale = 0.3});
  return cases;
}

TEST(AttentionF32, FollowsTheReference) {
  for (const Case& c : fast_cases()) check_against_reference<float>(c);
  // What is dropped goes by positions in the row, wherever a document begins. In bf16 the gradients of documents of a
  // few keys are differences of rounded numbers.
  check_against_reference<float>({.queries = 150, .keys = 170, .causal = false, .documents = true, .dropout = 0.3});
}

TEST(AttentionBf16, FollowsTheReference) {
  for (const Case& c : fast_cases()) check_against_reference<bf16>(c);
}

/// The output rows of queries [first, first + count) of a row, computed with the keys before them as the cache.
template <typename T>
std::vector<T> generate(Attention& attention, const Tensors& t, int64_t batch_row, int64_t first, int64_t count) {
  const auto rows = [&](const Tensor& tensor, int64_t from, int64_t length) {
    return tensor.slice(0, batch_row, 1).slice(1, from, length);
  };
  Tensor out = Tensor::zeros({1, count, t.out.dim(2), t.out.dim(3)}, DTypeOf<T>::value, attention.arena()), none;
  attention_forward(rows(t.q, first, count), rows(t.k, 0, first + count), rows(t.v, 0, first + count),
                    attention.options(), out, none);
  return out.to_vector<T>();
}

template <typename T>
void check_generation(const Case& c) {
  Attention attention(c);
  Tensors t = attention.make<T, T>();
  attention.forward(t);
  for (int64_t b = 0; b < c.batch; ++b) {
    const auto whole = [&](int64_t first, int64_t count) {
      return t.out.slice(0, b, 1).slice(1, first, count).template to_vector<T>();
    };
    const auto same = [](const std::vector<T>& a, const std::vector<T>& e) {
      return a.size() == e.size() && std::memcmp(a.data(), e.data(), a.size() * sizeof(T)) == 0;
    };
    for (int64_t query = b; query < c.queries; query += 3) {
      EXPECT_TRUE(same(generate<T>(attention, t, b, query, 1), whole(query, 1))) << "row " << b << " query " << query;
    }
    for (const int64_t chunk : {2, 3, 5, 14, 16, 37, 126, 128}) {
      for (int64_t first = 0; first + chunk <= c.queries; first += chunk) {
        EXPECT_TRUE(same(generate<T>(attention, t, b, first, chunk), whole(first, chunk)))
            << "row " << b << " queries " << first << " + " << chunk;
      }
    }
  }
}

std::vector<Case> generation_cases() {
  return {{.batch = 3,
           .queries = 300,
           .keys = 300,
           .heads = 4,
           .kv_heads = 4,
           .head_size = 64,
           .value_size = 40,
           .strided = true},
          {.queries = 270, .keys = 270, .heads = 6, .head_size = 20, .value_size = 33}};
}

TEST(AttentionF32, AQueryDoesNotDependOnTheOthers) {
  for (const Case& c : generation_cases()) check_generation<float>(c);
}

TEST(AttentionBf16, AQueryDoesNotDependOnTheOthers) {
  for (const Case& c : generation_cases()) check_generation<bf16>(c);
}

/// Documents that are packed into a row, and each of them alone.
template <typename T>
void check_documents(bool causal) {
  const std::vector<int64_t> lengths = {5, 130, 1, 64, 200};
  Attention attention({.batch = 2, .queries = 400, .keys = 400, .heads = 4, .kv_heads = 2, .causal = causal});
  const Tensors t = attention.make<T, T>();
  std::vector<int32_t> starts, ends;
  for (int64_t row = 0, start = 0; row < 2; ++row, start = 0) {
    for (const int64_t length : lengths) {
      starts.insert(starts.end(), static_cast<size_t>(length), static_cast<int32_t>(start));
      start += length;
      ends.insert(ends.end(), static_cast<size_t>(length), static_cast<int32_t>(start));
    }
  }
  AttentionOptions packed = attention.options();
  packed.document_starts = Tensor::from(starts, {2, 400}, attention.arena());
  packed.document_ends = Tensor::from(ends, {2, 400}, attention.arena());
  Tensor out = t.out, logsumexp = t.logsumexp;
  attention_forward(t.q, t.k, t.v, packed, out, logsumexp);
  for (int64_t row = 0, start = 0; row < 2; ++row, start = 0) {
    for (const int64_t length : lengths) {
      const auto part = [&](const Tensor& tensor) { return tensor.slice(0, row, 1).slice(1, start, length); };
      Tensor alone = Tensor::empty({1, length, 4, 8}, DTypeOf<T>::value, attention.arena());
      Tensor sums = Tensor::empty({1, 4, length}, DType::f32, attention.arena());
      attention_forward(part(t.q), part(t.k), part(t.v), attention.options(), alone, sums);
      const auto bits = [](const auto& values) {
        return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
      };
      EXPECT_EQ(bits(alone.template to_vector<T>()), bits(part(out).template to_vector<T>())) << row << " " << start;
      EXPECT_EQ(sums.to_vector<float>(), logsumexp.slice(0, row, 1).slice(2, start, length).to_vector<float>());
      start += length;
    }
  }
}

TEST(AttentionF32, ADocumentDoesNotDependOnItsPlace) {
  for (const bool causal : {true, false}) check_documents<float>(causal);
}

TEST(AttentionBf16, ADocumentDoesNotDependOnItsPlace) {
  for (const bool causal : {true, false}) check_documents<bf16>(causal);
}

template <typename T>
void check_threads() {
  const Case c{.batch = 1, .queries = 150, .keys = 170, .heads = 2, .kv_heads = 1, .documents = true};
  std::vector<std::vector<T>> results;
  const int before = base::thread_count();
  for (const int threads : {1, 2, 5}) {
    base::set_thread_count(threads);
    Attention attention(c);
    Tensors t = attention.make<T, T>();
    attention.forward(t);
    attention.backward(t);
    std::vector<T> all;
    for (const Tensor& tensor : {t.out, t.d_q, t.d_k, t.d_v}) {
      for (const T value : tensor.to_vector<T>()) all.push_back(value);
    }
    results.push_back(all);
  }
  base::set_thread_count(before);
  for (const auto& result : results) {
    EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(T)), 0);
  }
}

TEST(AttentionF32, ThreadsDoNotChangeTheResult) {
  check_threads<float>();
}
TEST(AttentionBf16, ThreadsDoNotChangeTheResult) {
  check_threads<bf16>();
}

TEST(AttentionF32, ANanStaysVisible) {
  Attention attention({.queries = 40, .keys = 40});
  Tensors t = attention.make<float, float>();
  t.q.data<float>()[17 * t.q.stride(1)] = std::numeric_limits<float>::quiet_NaN();
  attention.forward(t);
  EXPECT_TRUE(std::isnan(t.out.data<float>()[17 * t.out.stride(1)]));
  EXPECT_FALSE(std::isnan(t.out.data<float>()[16 * t.out.stride(1)]));
}

TEST(Attention, DropoutDropsTheStatedShare) {
  // All scores are 0 and all values 1: an output is the kept share of its weights divided by 1 - p.
  Attention attention({.batch = 4, .queries = 200, .keys = 200, .causal = false, .dropout = 0.25});
  Tensors t = attention.make<float, float>();
  for (float& value : std::span(t.q.data<float>(), static_cast<size_t>(t.q.elements()))) value = 0;
  for (float& value : std::span(t.v.data<float>(), static_cast<size_t>(t.v.elements()))) value = 1;
  attention.forward(t);
  double sum = 0;
  for (const float value : t.out.to_vector<float>()) sum += value;
  // 320 000 draws: the mean of keep / (1 - p) has a standard deviation of sqrt(p / (1 - p) / 320 000) = 0.001.
  EXPECT_NEAR(sum / static_cast<double>(t.out.elements()), 1, 0.005);
}

/// What the blocks of attention take for granted about micro-kernels.
TEST(Attention, PanelsAreLinearInDepth) {
  for (const cpu::MicroKernel* kernel : {&cpu::f32_micro_kernel(), &cpu::bf16_micro_kernel()}) {
    const int64_t unit = kernel->depth_unit, rows = kernel->rows, columns = kernel->columns;
    EXPECT_EQ(columns % unit, 0);
    std::vector<float> source(static_cast<size_t>(3 * unit * std::max(rows, columns)));
    for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<float>(i % 251);
    const auto packed = [&](auto pack, const cpu::MatrixView& view, int64_t bytes) {
      std::vector<std::byte> panel(static_cast<size_t>(bytes));
      pack(view, panel.data());
      return panel;
    };
    const auto join = [](std::vector<std::byte> a, const std::vector<std::byte>& b) {
      a.insert(a.end(), b.begin(), b.end());
      return a;
    };
    const auto a = [&](int64_t from, int64_t depth) {
      return packed(kernel->pack_a, {source.data() + from, DType::f32, rows, depth, 3 * unit, 1},
                    kernel->a_panel_bytes(depth));
    };
    const auto b = [&](int64_t from, int64_t depth) {
      return packed(kernel->pack_b, {source.data() + from * columns, DType::f32, depth, columns, columns, 1},
                    kernel->b_panel_bytes(depth));
    };
    EXPECT_EQ(a(0, 3 * unit), join(a(0, unit), a(unit, 2 * unit)));
    EXPECT_EQ(b(0, 3 * unit), join(b(0, unit), b(unit, 2 * unit)));
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Attention, RefusesWhatDoesNotFit) {
  Attention attention({});
  Tensors t = attention.make<float, float>();
  AttentionOptions options;
  const auto call = [&](const Tensor& q, const Tensor& k, const Tensor& v) {
    return message_of([&] { attention_forward(q, k, v, options, t.out, t.logsumexp); });
  };
  EXPECT_EQ(call(t.q, t.k, t.v), "no error");
  EXPECT_THAT(call(t.q, t.k.slice(3, 0, 4), t.v), HasSubstr("attention k: got f32 [2, 7, 2, 4]"));
  EXPECT_THAT(call(t.q, t.k.slice(1, 0, 4), t.v.slice(1, 0, 4)), HasSubstr("7 queries and 4 keys"));
  EXPECT_THAT(call(t.q, t.k.slice(2, 0, 0), t.v.slice(2, 0, 0)), HasSubstr("multiple of the 0 key heads"));
  EXPECT_THAT(call(t.q.transpose(2, 3), t.k, t.v), HasSubstr("apart"));
  EXPECT_THAT(call(Tensor(), t.k, t.v), HasSubstr("undefined"));
  options.scale = -1;
  EXPECT_THAT(call(t.q, t.k, t.v), HasSubstr("scale is -1"));
  options.scale = 0, options.dropout = 0.5;
  EXPECT_THAT(call(t.q, t.k, t.v), HasSubstr("needs random numbers"));
  options.dropout = 1;
  EXPECT_THAT(call(t.q, t.k, t.v), HasSubstr("less than 1"));
  options.dropout = 0, options.document_starts = t.q;
  EXPECT_THAT(call(t.q, t.k, t.v), HasSubstr("document_starts"));
}

TEST(Attention, DoesNothingOnTheMetaDevice) {
  Arena arena("meta", Device::meta);
  Tensor q = Tensor::empty({1, 4, 2, 8}, DType::bf16, arena), logsumexp = Tensor::empty({1, 2, 4}, DType::f32, arena);
  Tensor out = Tensor::empty({1, 4, 2, 8}, DType::bf16, arena);
  attention_forward(q, q, q, {}, out, logsumexp);
  attention_backward(q, q, q, out, out, logsumexp, {}, out, out, out);
}

}  // namespace
}  // namespace fledge::tensor
