#include "tensor/cpu/quantized_activations.h"

#include <algorithm>
#include <cstring>
#include <limits>

#ifndef FLEDGE_QUANTIZED_ACTIVATIONS_ONCE
#define FLEDGE_QUANTIZED_ACTIVATIONS_ONCE
namespace fledge::tensor::cpu {
namespace {

/// A chunk to be quantized, and where the results go.
struct ChunkWork {
  const std::byte* a;
  DType dtype;
  int64_t row_bytes;
  int64_t rows, groups;
  bool wide;   ///< a scale for each 256 elements
  int parts;   ///< sums of a group that are kept apart
  int offset;  ///< 0: keep scaled sums
  int8_t* values;
  float* scales;
  int32_t* starts;
  float* sums;
};

}  // namespace
}  // namespace fledge::tensor::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/quantized_activations.cpp"
#include <hwy/foreach_target.h>
//
#include "tensor/cpu/vector-inl.h"

// Everything here is exact or rounded once per element, so that all instruction sets give the same numbers.
HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {
namespace {

constexpr int kTogether = 4;  ///< groups whose sums and maxima are taken in one vector
using FourTag = hn::CappedTag<float, kTogether>;
using FourIntegers = hn::RebindToSigned<FourTag>;
using IntegerTag = hn::RebindToSigned<FloatTag>;

/// Lanes i, i + 4, i + 8, ... of a vector combined into lane i of one with four lanes.
template <class D, class Combine>
HWY_INLINE hn::Vec<FourIntegers> fold(D, hn::Vec<D> v, const Combine& combine) {
  if constexpr (hn::MaxLanes(D()) <= kTogether) {
    return v;
  } else {
    const hn::Half<D> half;
    return fold(half, combine(hn::UpperHalf(half, v), hn::LowerHalf(half, v)), combine);
  }
}

/// Lane i of the result: the lanes of vector i combined.
template <class Combine>
HWY_INLINE hn::Vec<FourIntegers> across(const hn::Vec<IntegerTag> (&v)[kTogether], const Combine& combine) {
  const IntegerTag d;
  const hn::Repartition<int64_t, IntegerTag> pairs;
  const auto merged = [&](const auto& a, const auto& b)
                          HWY_ATTR { return combine(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)); };
  const auto low = hn::BitCast(pairs, merged(v[0], v[1])), high = hn::BitCast(pairs, merged(v[2], v[3]));
  return fold(d,
              combine(hn::BitCast(d, hn::InterleaveLower(pairs, low, high)),
                      hn::BitCast(d, hn::InterleaveUpper(pairs, low, high))),
              combine);
}

/// The largest magnitudes among the 32 elements of up to four groups, as bits of f32: as integers, magnitudes have the
/// order of their values, and what is no number comes last.
template <typename T>
HWY_INLINE hn::Vec<FourIntegers> largest_magnitudes(const T* values, int64_t groups) {
  const FloatTag d;
  const IntegerTag integers;
  const auto larger = [](const auto& a, const auto& b) HWY_ATTR { return hn::Max(a, b); };
  hn::Vec<IntegerTag> largest[kTogether];
  for (int64_t group = 0; group < kTogether; ++group) {
    largest[group] = hn::Zero(integers);
    for (int64_t i = 0; group < groups && i < kGroup; i += static_cast<int64_t>(hn::Lanes(d))) {
      const auto magnitude = hn::BitCast(integers, hn::Abs(load(d, values + group * kGroup + i)));
      largest[group] = hn::Max(largest[group], magnitude);
    }
  }
  return across(largest, larger);
}

/// llama.cpp keeps these numbers in f16. Where f16 would lose more than its precision, f32 stays.
HWY_INLINE hn::Vec<FourTag> half_rounded(hn::Vec<FourTag> value) {
  const FourTag d;
  const FourIntegers integers;
  const auto bits = hn::BitCast(integers, value);
  const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(integers, 1));
  const auto rounded = hn::And(hn::Add(hn::Add(bits, hn::Set(integers, 0xfff)), odd), hn::Set(integers, ~0x1fff));
  const auto magnitude = hn::Abs(value);
  const auto fits = hn::And(hn::Ge(magnitude, hn::Set(d, 0x1p-14f)), hn::Lt(magnitude, hn::Set(d, 65504.0f)));
  return hn::IfThenElse(fits, hn::BitCast(d, rounded), value);
}

/// What four groups are rounded with.
struct Steps {
  HWY_ALIGN float factor[kTogether];    ///< from activations to numbers
  HWY_ALIGN float scale[kTogether];     ///< the size of a number that products use
  HWY_ALIGN int32_t sum[2][kTogether];  ///< of the numbers of each part
  hn::Vec<FourTag> size;                ///< of a number
  bool finite;
};

HWY_INLINE void find_steps(hn::Vec<FourIntegers> largest_bits, bool wide, Steps& steps) {
  const FourTag d;
  const FourIntegers integers;
  const auto largest = hn::BitCast(d, largest_bits), zero = hn::Zero(d);
  // The least magnitudes have no inverse that f32 holds; they become zeros.
  const auto factor = hn::IfThenElseZero(hn::Gt(largest, hn::Set(d, 0x1p-120f)), hn::Div(hn::Set(d, 127.0f), largest));
  const auto infinity = hn::Set(integers, 0x7f800000);
  const auto finite = hn::RebindMask(d, hn::Lt(largest_bits, infinity));
  const auto none = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  if (wide) {
    steps.size = hn::IfThenElseZero(hn::Gt(factor, zero), hn::Div(hn::Set(d, 1.0f), factor));
  } else {
    steps.size = hn::Div(largest, hn::Set(d, 127.0f));
  }
  // A row with a number that is not finite gives none that is.
  hn::Store(hn::IfThenElse(finite, wide ? steps.size : half_rounded(steps.size), none), d, steps.scale);
  hn::Store(factor, d, steps.factor);
  steps.finite = hn::AllTrue(d, finite);
}

/// Rounds up to four groups to int8 and adds up the numbers of each part.
template <typename T>
HWY_INLINE void round_to_bytes(const T* values, int64_t groups, int parts, int8_t* bytes, int64_t stride,
                               Steps& steps) {
  const FloatTag d;
  const IntegerTag integers;
  const hn::Rebind<uint8_t, FloatTag> narrow;
  const hn::RebindToUnsigned<FloatTag> unsigned_tag;
  const auto add = [](const auto& a, const auto& b) HWY_ATTR { return hn::Add(a, b); };
  // Adding 1.5 * 2^23 rounds to a whole number, ties to even, which then stands in the low bits of the sum.
  const auto magic = hn::Set(d, 12582912.0f);
  const int64_t length = kGroup / parts;
  for (int part = 0; part < parts; ++part) {
    hn::Vec<IntegerTag> sums[kTogether];
    for (int64_t group = 0; group < kTogether; ++group) {
      sums[group] = hn::Zero(integers);
      if (group >= groups) continue;
      const auto factor = hn::Set(d, steps.factor[group]);
      const int64_t first = part * length;
      for (int64_t i = first; i < first + length; i += static_cast<int64_t>(hn::Lanes(d))) {
        const auto shifted = hn::Add(hn::Mul(load(d, values + group * kGroup + i), factor), magic);
        const auto number = hn::Sub(hn::BitCast(integers, shifted), hn::BitCast(integers, magic));
        hn::StoreU(hn::TruncateTo(narrow, hn::BitCast(unsigned_tag, number)), narrow,
                   reinterpret_cast<uint8_t*>(bytes) + group * stride + i);
        sums[group] = hn::Add(sums[group], number);
      }
    }
    hn::Store(across(sums, add), FourIntegers(), steps.sum[part]);
  }
}

/// Numbers that no scale can make finite become zeros.
HWY_INLINE void clear_infinite(const ChunkWork& work, int64_t groups, int8_t* bytes, Steps& steps) {
  for (int64_t group = 0; group < groups; ++group) {
    if (steps.scale[group] == steps.scale[group]) continue;
    std::memset(bytes + group * work.rows * kGroup, 0, kGroup);
    steps.sum[0][group] = steps.sum[1][group] = 0;
  }
}

HWY_INLINE void store_sums(const ChunkWork& work, int64_t group, int64_t row, int64_t count, const Steps& steps) {
  const FourTag d;
  if (work.offset != 0) {
    for (int64_t i = 0; i < count * work.parts; ++i) {
      work.starts[(group * work.parts + i) * work.rows + row] =
          -work.offset * steps.sum[i % work.parts][i / work.parts];
    }
    return;
  }
  const auto scaled = hn::Mul(steps.size, hn::ConvertTo(d, hn::Load(FourIntegers(), steps.sum[0])));
  HWY_ALIGN float sums[kTogether];
  hn::Store(work.wide ? scaled : half_rounded(scaled), d, sums);
  for (int64_t i = 0; i < count; ++i) work.sums[(group + i) * work.rows + row] = sums[i];
}

template <typename T>
void quantize_row(const ChunkWork& work, int64_t row) {
  const T* source = reinterpret_cast<const T*>(work.a + row * work.row_bytes);
  Steps steps;
  for (int64_t group = 0; group < work.groups; group += kTogether) {
    const T* values = source + group * kGroup;
    const int64_t count = std::min<int64_t>(kTogether, work.groups - group);
    if (!work.wide) {
      find_steps(largest_magnitudes(values, count), false, steps);
    } else if (group % kSuperGroups == 0) {
      const auto both =
          hn::Max(largest_magnitudes(values, kTogether), largest_magnitudes(values + kTogether * kGroup, kTogether));
      find_steps(hn::MaxOfLanes(FourIntegers(), both), true, steps);
    }
    int8_t* bytes = work.values + (group * work.rows + row) * kGroup;
    round_to_bytes(values, count, work.parts, bytes, work.rows * kGroup, steps);
    if (!steps.finite) clear_infinite(work, count, bytes, steps);
    for (int64_t i = 0; i < count; ++i) work.scales[(group + i) * work.rows + row] = steps.scale[i];
    store_sums(work, group, row, count, steps);
  }
}

}  // namespace

void quantize_chunk(const ChunkWork& work) {
  for (int64_t row = 0; row < work.rows; ++row) {
    if (work.dtype == DType::bf16) {
      quantize_row<bf16>(work, row);
    } else {
      quantize_row<float>(work, row);
    }
  }
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
HWY_EXPORT(quantize_chunk);
namespace {

int64_t round_up(int64_t value) {
  return (value + 63) / 64 * 64;
}

}  // namespace

size_t QuantizedActivations::bytes() const {
  const int64_t floats = round_up(rows_ * groups() * 4);
  const int64_t others = has_starts() ? round_up(rows_ * groups() * starts_per_group() * 4) : floats;
  return static_cast<size_t>(round_up(rows_ * depth_) + floats + others);
}

void QuantizedActivations::use(std::byte* memory) {
  values_ = reinterpret_cast<int8_t*>(memory);
  memory += round_up(rows_ * depth_);
  scales_ = reinterpret_cast<float*>(memory);
  memory += round_up(rows_ * groups() * 4);
  if (has_starts()) {
    starts_ = reinterpret_cast<int32_t*>(memory);
  } else {
    sums_ = reinterpret_cast<float*>(memory);
  }
}

QuantizedRows QuantizedActivations::chunk(int64_t first) const {
  const int64_t before = first * groups();
  return {values_ + first * depth_, scales_ + before, has_starts() ? starts_ + before * starts_per_group() : nullptr,
          has_starts() ? nullptr : sums_ + before};
}

void QuantizedActivations::quantize(const void* a, DType dtype, int64_t stride, int64_t first, int64_t rows) {
  ChunkWork work{};
  work.dtype = dtype;
  work.row_bytes = stride * static_cast<int64_t>(size_of(dtype));
  work.a = static_cast<const std::byte*>(a) + first * work.row_bytes;
  work.rows = rows;
  work.groups = groups();
  work.wide = block_elements(type_) > kGroup;
  work.parts = static_cast<int>(starts_per_group());
  work.offset = number_offset(type_);
  work.values = values_ + first * depth_;
  work.scales = scales_ + first * groups();
  if (has_starts()) {
    work.starts = starts_ + first * groups() * starts_per_group();
  } else {
    work.sums = sums_ + first * groups();
  }
  HWY_DYNAMIC_DISPATCH(quantize_chunk)(work);
}

}  // namespace fledge::tensor::cpu
#endif
