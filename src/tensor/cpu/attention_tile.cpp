#include "tensor/cpu/attention_tile.h"

#include <algorithm>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention_tile.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "tensor/cpu/attention_words.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {
namespace {

using IntTag = hn::RebindToSigned<FloatTag>;
using WordTag = hn::RebindToUnsigned<FloatTag>;
using IntVector = hn::Vec<IntTag>;
using WordVector = hn::Vec<WordTag>;

/// 2^x to 1.3 units in the last place for x <= 127, exactly 1 at 0, 0 below -125; a NaN stays a NaN.
HWY_INLINE FloatVector exp2(FloatVector x) {
  const FloatTag d;
  const IntTag di;
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits of the sum.
  const FloatVector magic = hn::Set(d, 12582912.0f);
  const FloatVector shifted = hn::Add(x, magic);
  const FloatVector f = hn::Sub(x, hn::Sub(shifted, magic));
  // 2^f on [-1/2, 1/2] with the least greatest relative error (2e-9), the constant held at 1.
  FloatVector p = hn::MulAdd(hn::Set(d, 1.53533620e-4f), f, hn::Set(d, 1.33988747e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 9.61843736e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.55033247e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.40226479e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.93147203e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const FloatVector result = hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -125.0f)), result);
}

/// Bits of v with the rounding to bf16 (nearest, ties to even) added: the upper half is the bf16.
HWY_INLINE WordVector add_rounding(FloatVector v) {
  const WordTag d;
  const auto bits = hn::BitCast(d, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  return hn::Add(hn::Add(bits, hn::Set(d, 0x7fff)), odd);
}

HWY_INLINE WordVector upper_half(WordVector bits) {
  return hn::And(bits, hn::Set(WordTag(), 0xffff0000u));
}

HWY_INLINE FloatVector round_to_bf16(FloatVector v) {
  return hn::BitCast(FloatTag(), upper_half(add_rounding(v)));
}

/// (even, odd) rounded to bf16 in one word, even in the lower half.
HWY_INLINE WordVector pair(FloatVector even, FloatVector odd) {
  return hn::Or(hn::ShiftRight<16>(add_rounding(even)), upper_half(add_rounding(odd)));
}

/// Which rows of a tile one vector of columns sees.
class Visible {
 public:
  Visible(const ScoreTile& tile, int64_t column)
      : before_first_(tile.first == nullptr ? hn::Zero(IntTag())
                                            : hn::Sub(hn::LoadU(IntTag(), tile.first + column), hn::Set(IntTag(), 1))),
        end_(tile.first == nullptr ? hn::Zero(IntTag()) : hn::LoadU(IntTag(), tile.end + column)) {}

  HWY_INLINE hn::Mask<FloatTag> row(int64_t row) const {
    const IntVector index = hn::Set(IntTag(), static_cast<int32_t>(row));
    return hn::RebindMask(FloatTag(), hn::And(hn::Gt(index, before_first_), hn::Gt(end_, index)));
  }

 private:
  IntVector before_first_, end_;
};

/// Largest score of a column; scores that it does not see become -infinity.
HWY_INLINE FloatVector column_maximum(const ScoreTile& tile, int64_t column) {
  const FloatTag d;
  const FloatVector lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVector maximum = lowest;
  float* scores = tile.scores + column;
  if (tile.first == nullptr) {
    for (int64_t row = 0; row < tile.rows; ++row) maximum = hn::Max(maximum, hn::LoadU(d, scores + row * tile.stride));
    return maximum;
  }
  const Visible visible(tile, column);
  for (int64_t row = 0; row < tile.rows; ++row) {
    const FloatVector score = hn::IfThenElse(visible.row(row), hn::LoadU(d, scores + row * tile.stride), lowest);
    hn::StoreU(score, d, scores + row * tile.stride);
    maximum = hn::Max(maximum, score);
  }
  return maximum;
}

/// Writes rows `row` and `row` + 1 of one vector of columns in the form of a B panel.
template <PanelForm kForm>
HWY_INLINE void store_rows(FloatVector even, FloatVector odd, float* plain, int64_t stride, bool has_odd,
                           uint32_t* panel) {
  const FloatTag d;
  if constexpr (kForm == PanelForm::pairs) {
    hn::StoreU(pair(even, odd), WordTag(), panel);
  } else {
    hn::StoreU(kForm == PanelForm::rounded ? round_to_bf16(even) : even, d, plain);
    if (has_odd) hn::StoreU(kForm == PanelForm::rounded ? round_to_bf16(odd) : odd, d, plain + stride);
  }
}

/// Scores to weights for one vector of columns; returns their sum. Row r adds to partial sum r % 4, so that rows that
/// are not visible, which add 0, change nothing.
template <PanelForm kForm>
HWY_INLINE FloatVector column_weights(const ScoreTile& tile, int64_t column, FloatVector maximum_log2,
                                      uint32_t* panel) {
  const FloatTag d;
  const FloatVector scale = hn::Set(d, tile.scale_log2);
  float* scores = tile.scores + column;
  const auto weight = [&](int64_t row) HWY_ATTR {
    return exp2(hn::MulSub(hn::LoadU(d, scores + row * tile.stride), scale, maximum_log2));
  };
  const auto kept = [&](FloatVector value, int64_t row) HWY_ATTR {
    return tile.keep == nullptr ? value : hn::Mul(value, hn::LoadU(d, tile.keep + row * tile.stride + column));
  };
  const auto store = [&](FloatVector even, FloatVector odd, int64_t row, bool has_odd) HWY_ATTR {
    store_rows<kForm>(kept(even, row), has_odd ? kept(odd, row + 1) : odd, scores + row * tile.stride, tile.stride,
                      has_odd, panel + (row / 2) * tile.stride + column);
  };
  FloatVector sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  int64_t row = 0;
  for (; row + 4 <= tile.rows; row += 4) {
    const FloatVector w0 = weight(row), w1 = weight(row + 1), w2 = weight(row + 2), w3 = weight(row + 3);
    sum0 = hn::Add(sum0, w0), sum1 = hn::Add(sum1, w1), sum2 = hn::Add(sum2, w2), sum3 = hn::Add(sum3, w3);
    store(w0, w1, row, true);
    store(w2, w3, row + 2, true);
  }
  for (; row < tile.rows; row += 2) {
    const bool has_odd = row + 1 < tile.rows;
    const FloatVector even = weight(row), odd = has_odd ? weight(row + 1) : hn::Zero(d);
    if (row % 4 == 0) {
      sum0 = hn::Add(sum0, even), sum1 = hn::Add(sum1, odd);
    } else {
      sum2 = hn::Add(sum2, even), sum3 = hn::Add(sum3, odd);
    }
    store(even, odd, row, has_odd);
  }
  return hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
}

/// Zeros in the rows of a panel beyond the tile's.
template <PanelForm kForm>
void clear_padding(const ScoreTile& tile, float* plain, uint32_t* panel) {
  if constexpr (kForm == PanelForm::pairs) {
    for (int64_t word = (tile.rows + 1) / 2; word < tile.padded_rows / 2; ++word) {
      std::memset(panel + word * tile.stride, 0, static_cast<size_t>(tile.stride) * sizeof(uint32_t));
    }
  } else {
    for (int64_t row = tile.rows; row < tile.padded_rows; ++row) {
      std::memset(plain + row * tile.stride, 0, static_cast<size_t>(tile.stride) * sizeof(float));
    }
  }
}

template <PanelForm kForm>
bool softmax(const ScoreTile& tile, float* maximum, float* sum, float* correction, uint32_t* panel) {
  const FloatTag d;
  const FloatVector lowest = hn::Set(d, -std::numeric_limits<float>::infinity()), one = hn::Set(d, 1.0f);
  const FloatVector scale = hn::Set(d, tile.scale_log2);
  bool corrects = false;
  for (int64_t column = 0; column < tile.columns; column += static_cast<int64_t>(hn::Lanes(d))) {
    const FloatVector before = hn::LoadU(d, maximum + column);
    const FloatVector now = hn::Max(before, column_maximum(tile, column));
    // A column that has seen nothing has maximum -infinity; 0 in its place gives weights 2^-infinity = 0.
    const FloatVector reference = hn::IfThenZeroElse(hn::Eq(now, lowest), now);
    // Exactly 1 where the maximum stays: a block that a query does not see leaves no trace.
    const FloatVector factor = exp2(hn::Mul(hn::Sub(before, reference), scale));
    const FloatVector total = column_weights<kForm>(tile, column, hn::Mul(reference, scale), panel);
    hn::StoreU(now, d, maximum + column);
    hn::StoreU(factor, d, correction + column);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, sum + column), factor, total), d, sum + column);
    corrects |= !hn::AllTrue(d, hn::Eq(factor, one));
  }
  clear_padding<kForm>(tile, tile.scores, panel);
  return corrects;
}

int64_t tile_vector() {
  return static_cast<int64_t>(hn::Lanes(FloatTag()));
}

bool softmax_tile(const ScoreTile& tile, float* maximum, float* sum, float* correction, uint32_t* panel) {
  switch (tile.form) {
    case PanelForm::pairs:
      return softmax<PanelForm::pairs>(tile, maximum, sum, correction, panel);
    case PanelForm::rounded:
      return softmax<PanelForm::rounded>(tile, maximum, sum, correction, panel);
    case PanelForm::f32:
    case PanelForm::other:
      break;
  }
  return softmax<PanelForm::f32>(tile, maximum, sum, correction, panel);
}

float softmax_row(const ScoreRow& row, float* maximum, float* sum) {
  const FloatTag d;
  const IntTag di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const FloatVector lowest = hn::Set(d, -std::numeric_limits<float>::infinity()), scale = hn::Set(d, row.scale_log2);
  const IntVector before_first = hn::Set(di, static_cast<int32_t>(row.first - 1));
  const IntVector end = hn::Set(di, static_cast<int32_t>(row.end));
  FloatVector largest = lowest;
  for (int64_t key = 0; key < row.keys; key += lanes) {
    const IntVector index = hn::Iota(di, static_cast<int32_t>(key));
    const auto visible = hn::RebindMask(d, hn::And(hn::Gt(index, before_first), hn::Gt(end, index)));
    const FloatVector score = hn::IfThenElse(visible, hn::LoadU(d, row.scores + key), lowest);
    hn::StoreU(score, d, row.scores + key);
    largest = hn::Max(largest, score);
  }
  const FloatVector before = hn::Set(d, *maximum), now = hn::Max(before, hn::MaxOfLanes(d, largest));
  const FloatVector reference = hn::IfThenZeroElse(hn::Eq(now, lowest), now);
  const FloatVector factor = exp2(hn::Mul(hn::Sub(before, reference), scale));
  const FloatVector maximum_log2 = hn::Mul(reference, scale);

  // Key k adds to partial sum k % 4, as row k of a tile does.
  const hn::CappedTag<float, 4> four;
  auto sums = hn::Zero(four);
  for (int64_t key = 0; key < row.keys; key += lanes) {
    FloatVector weight = exp2(hn::MulSub(hn::LoadU(d, row.scores + key), scale, maximum_log2));
    hn::StoreU(weight, d, row.scores + key);
    for (int64_t i = key; i < key + lanes; i += 4) sums = hn::Add(sums, hn::LoadU(four, row.scores + i));
    if (row.keep != nullptr) hn::StoreU(hn::Mul(weight, hn::LoadU(d, row.keep + key)), d, row.scores + key);
  }
  float parts[4];
  hn::StoreU(sums, four, parts);
  const FloatVector total = hn::Set(d, (parts[0] + parts[1]) + (parts[2] + parts[3]));
  *sum = hn::GetLane(hn::MulAdd(hn::Set(d, *sum), factor, total));
  *maximum = hn::GetLane(now);
  return hn::GetLane(factor);
}

HWY_INLINE void store_bf16(WordVector rounded, bf16* to) {
  const hn::Rebind<uint16_t, FloatTag> half;
  hn::StoreU(hn::TruncateTo(half, hn::ShiftRight<16>(rounded)), half, reinterpret_cast<uint16_t*>(to));
}

/// P and dS of one row of one vector of columns.
struct WeightAndGradient {
  FloatVector weight, gradient;
};

template <PanelForm kForm>
void gradient(const GradientTile& t) {
  const FloatTag d;
  const ScoreTile& tile = t.scores;
  const FloatVector scale = hn::Set(d, tile.scale_log2);
  for (int64_t column = 0; column < tile.columns; column += static_cast<int64_t>(hn::Lanes(d))) {
    const FloatVector logsumexp = hn::LoadU(d, t.logsumexp_log2 + column), delta = hn::LoadU(d, t.delta + column);
    const Visible visible(tile, column);

    const auto compute = [&](int64_t row) HWY_ATTR {
      const int64_t at = row * tile.stride + column;
      FloatVector weight = exp2(hn::MulSub(hn::LoadU(d, tile.scores + at), scale, logsumexp));
      if (tile.first != nullptr) weight = hn::IfThenElseZero(visible.row(row), weight);
      const FloatVector d_weight = hn::LoadU(d, t.d_weights + at);
      if (tile.keep == nullptr) return WeightAndGradient{weight, hn::Mul(weight, hn::Sub(d_weight, delta))};
      const FloatVector keep = hn::LoadU(d, tile.keep + at);
      return WeightAndGradient{hn::Mul(weight, keep), hn::Mul(weight, hn::MulSub(d_weight, keep, delta))};
    };
    const auto store = [&](const WeightAndGradient& values, int64_t row) HWY_ATTR {
      const int64_t at = row * tile.stride + column;
      if constexpr (kForm == PanelForm::pairs) {
        store_bf16(add_rounding(values.weight), t.weight_rows + at);
        store_bf16(add_rounding(values.gradient), t.gradient_rows + at);
      } else {
        constexpr bool kRound = kForm == PanelForm::rounded;
        hn::StoreU(kRound ? round_to_bf16(values.weight) : values.weight, d, tile.scores + at);
        hn::StoreU(kRound ? round_to_bf16(values.gradient) : values.gradient, d, t.d_weights + at);
      }
    };
    for (int64_t row = 0; row < tile.rows; row += 2) {
      const WeightAndGradient even = compute(row);
      store(even, row);
      WeightAndGradient odd{hn::Zero(d), hn::Zero(d)};
      if (row + 1 < tile.rows) {
        odd = compute(row + 1);
        store(odd, row + 1);
      }
      if constexpr (kForm == PanelForm::pairs) {
        hn::StoreU(pair(even.gradient, odd.gradient), WordTag(), t.gradient_panel + (row / 2) * tile.stride + column);
      }
    }
  }
  clear_padding<kForm>(tile, t.d_weights, t.gradient_panel);
}

void gradient_tile(const GradientTile& tile) {
  switch (tile.scores.form) {
    case PanelForm::pairs:
      return gradient<PanelForm::pairs>(tile);
    case PanelForm::rounded:
      return gradient<PanelForm::rounded>(tile);
    case PanelForm::f32:
    case PanelForm::other:
      return gradient<PanelForm::f32>(tile);
  }
}

void scale_columns(float* values, int64_t rows, int64_t stride, const float* factors) {
  const FloatTag d;
  for (int64_t column = 0; column < stride; column += static_cast<int64_t>(hn::Lanes(d))) {
    const FloatVector factor = hn::LoadU(d, factors + column);
    for (int64_t row = 0; row < rows; ++row) {
      float* at = values + row * stride + column;
      hn::StoreU(hn::Mul(hn::LoadU(d, at), factor), d, at);
    }
  }
}

/// Four rows at a time: interleaved, each column's four values stand together and are copied to their place.
template <typename T>
void store_columns(const float* values, int64_t rows, int64_t columns, int64_t stride, const float* factors, T* target,
                   int64_t target_stride) {
  const FloatTag d;
  constexpr size_t kLanes = HWY_MAX_BYTES / sizeof(float);
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t column = 0; column < columns; column += lanes) {
    const FloatVector factor = hn::LoadU(d, factors + column);
    const int64_t count = std::min(lanes, columns - column);
    for (int64_t row = 0; row < rows; row += 4) {
      const int64_t height = std::min<int64_t>(4, rows - row);
      const auto value = [&](int64_t i) HWY_ATTR {
        const float* at = values + (row + std::min(i, height - 1)) * stride + column;
        return hn::Mul(hn::LoadU(d, at), factor);
      };
      HWY_ALIGN float interleaved[4 * kLanes];
      hn::StoreInterleaved4(value(0), value(1), value(2), value(3), d, interleaved);
      HWY_ALIGN T converted[4 * kLanes];
      for (int64_t part = 0; part < 4; ++part) {
        store(hn::Load(d, interleaved + part * lanes), d, converted + part * lanes);
      }
      T* to = target + column * target_stride + row;
      if (height == 4) {
        for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * target_stride, converted + 4 * i, 4 * sizeof(T));
      } else {
        for (int64_t i = 0; i < count; ++i) std::copy_n(converted + 4 * i, height, to + i * target_stride);
      }
    }
  }
}

/// values * factors as words, f32 or pairs of rows of bf16, for `count` words from `row` on.
HWY_INLINE void make_words(const float* values, int64_t row, int64_t count, int64_t stride, const float* factors,
                           DType dtype, uint32_t* words) {
  const FloatTag d;
  for (int64_t column = 0; column < stride; column += static_cast<int64_t>(hn::Lanes(d))) {
    const FloatVector factor = hn::LoadU(d, factors + column);
    const auto value = [&](int64_t i)
                           HWY_ATTR { return hn::Mul(hn::LoadU(d, values + (row + i) * stride + column), factor); };
    for (int64_t i = 0; i < count; ++i) {
      const WordVector word =
          dtype == DType::f32 ? hn::BitCast(WordTag(), value(i)) : pair(value(2 * i), value(2 * i + 1));
      hn::StoreU(word, WordTag(), words + i * stride + column);
    }
  }
}

void store_transposed(const float* values, int64_t rows, int64_t columns, int64_t stride, const float* factors,
                      DType dtype, void* target, int64_t target_stride) {
#if HWY_TARGET <= HWY_AVX3
  const auto per_word = static_cast<int64_t>(sizeof(uint32_t) / size_of(dtype));
  constexpr int64_t kWords = 16, kMaximumStride = 64;
  if (rows % per_word == 0 && target_stride % per_word == 0 && stride <= kMaximumStride &&
      reinterpret_cast<uintptr_t>(target) % sizeof(uint32_t) == 0) {
    HWY_ALIGN uint32_t words[kWords * kMaximumStride];
    for (int64_t word = 0; word < rows / per_word; word += kWords) {
      const int64_t count = std::min(kWords, rows / per_word - word);
      make_words(values, word * per_word, count, stride, factors, dtype, words);
      transpose_words_avx512(words, stride * static_cast<int64_t>(sizeof(uint32_t)), count, columns,
                             static_cast<uint32_t*>(target) + word, count, target_stride / per_word);
    }
    return;
  }
#endif
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    store_columns(values, rows, columns, stride, factors, static_cast<T*>(target), target_stride);
  });
}

void store_scaled(const float* values, int64_t rows, int64_t columns, float factor, DType dtype, void* target,
                  int64_t target_stride) {
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = values + row * columns;
      T* to = static_cast<T*>(target) + row * target_stride;
      for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
        place.store_to(to, hn::Mul(place.load_from(from), hn::Set(FloatTag(), factor)));
      });
    }
  });
}

void row_dots(const void* a, int64_t a_stride, const void* b, int64_t b_stride, DType dtype, int64_t rows,
              int64_t columns, float* dots) {
  with_element(dtype, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = 0; row < rows; ++row) {
      const T *left = static_cast<const T*>(a) + row * a_stride, *right = static_cast<const T*>(b) + row * b_stride;
      FloatVector sum = hn::Zero(FloatTag());
      for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
        sum = hn::MulAdd(place.load_from(left), place.load_from(right), sum);
      });
      dots[row] = sum_of_lanes(sum);
    }
  });
}

}  // namespace
}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {

HWY_EXPORT(tile_vector);
HWY_EXPORT(softmax_tile);
HWY_EXPORT(softmax_row);
HWY_EXPORT(gradient_tile);
HWY_EXPORT(scale_columns);
HWY_EXPORT(store_transposed);
HWY_EXPORT(store_scaled);
HWY_EXPORT(row_dots);

int64_t tile_vector() {
  return HWY_DYNAMIC_DISPATCH(tile_vector)();
}

bool softmax_tile(const ScoreTile& tile, float* maximum, float* sum, float* correction, uint32_t* panel) {
  return HWY_DYNAMIC_DISPATCH(softmax_tile)(tile, maximum, sum, correction, panel);
}

float softmax_row(const ScoreRow& row, float* maximum, float* sum) {
  return HWY_DYNAMIC_DISPATCH(softmax_row)(row, maximum, sum);
}

void gradient_tile(const GradientTile& tile) {
  HWY_DYNAMIC_DISPATCH(gradient_tile)(tile);
}

void scale_columns(float* values, int64_t rows, int64_t stride, const float* factors) {
  HWY_DYNAMIC_DISPATCH(scale_columns)(values, rows, stride, factors);
}

void store_transposed(const float* values, int64_t rows, int64_t columns, int64_t stride, const float* factors,
                      DType dtype, void* target, int64_t target_stride) {
  HWY_DYNAMIC_DISPATCH(store_transposed)(values, rows, columns, stride, factors, dtype, target, target_stride);
}

void store_scaled(const float* values, int64_t rows, int64_t columns, float factor, DType dtype, void* target,
                  int64_t target_stride) {
  HWY_DYNAMIC_DISPATCH(store_scaled)(values, rows, columns, factor, dtype, target, target_stride);
}

void row_dots(const void* a, int64_t a_stride, const void* b, int64_t b_stride, DType dtype, int64_t rows,
              int64_t columns, float* dots) {
  HWY_DYNAMIC_DISPATCH(row_dots)(a, a_stride, b, b_stride, dtype, rows, columns, dots);
}

}  // namespace fledge::tensor::cpu
#endif
