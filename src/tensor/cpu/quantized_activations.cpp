#include "tensor/cpu/quantized_activations.h"

#include <cmath>
#include <cstring>

#include "tensor/float16.h"

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

/// llama.cpp keeps these numbers in f16. Where f16 would lose more than its precision, f32 stays.
inline float half_rounded(float value) {
  const float magnitude = std::fabs(value);
  return magnitude >= 0x1p-14f && magnitude < 65504.0f ? from_f16(to_f16(value)) : value;
}

struct Step {
  float factor = 0;  ///< from activations to numbers
  float size = 0;    ///< of a number
  float scale = 0;   ///< the size that products use
};

inline Step step_for(float largest, bool wide) {
  // The least magnitudes have no inverse that f32 holds; they become zeros.
  Step step;
  step.factor = largest > 0x1p-120f ? 127.0f / largest : 0.0f;
  if (wide) {
    step.size = step.factor > 0 ? 1.0f / step.factor : 0.0f;
    step.scale = step.size;
  } else {
    step.size = largest / 127.0f;
    step.scale = half_rounded(step.size);
  }
  return step;
}

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

/// The largest magnitude among `count` elements, a multiple of 32; no number where one of them is none.
template <typename T>
float largest_magnitude(const T* values, int64_t count) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> integers;
  // As integers, magnitudes have the order of their values, and what is no number comes last.
  auto largest = hn::Zero(integers);
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) {
    largest = hn::Max(largest, hn::BitCast(integers, hn::Abs(load(d, values + i))));
  }
  return hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(integers, largest)));
}

/// Rounds values * factor to int8; returns their sum.
template <typename T>
int32_t round_to_bytes(const T* values, int64_t count, float factor, int8_t* bytes) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> integers;
  const hn::Rebind<int8_t, FloatTag> narrow;
  auto sum = hn::Zero(integers);
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto rounded = hn::NearestInt(hn::Mul(load(d, values + i), hn::Set(d, factor)));
    hn::StoreU(hn::DemoteTo(narrow, rounded), narrow, bytes + i);
    sum = hn::Add(sum, rounded);
  }
  return hn::GetLane(hn::SumOfLanes(integers, sum));
}

template <typename T>
void quantize_row(const ChunkWork& work, int64_t row) {
  const T* source = reinterpret_cast<const T*>(work.a + row * work.row_bytes);
  const int64_t length = kGroup / work.parts, block = work.wide ? kGroup * kSuperGroups : kGroup;
  Step step;
  bool finite = true;
  for (int64_t group = 0; group < work.groups; ++group) {
    const T* values = source + group * kGroup;
    if (group * kGroup % block == 0) {
      const float largest = largest_magnitude(values, block);
      step = step_for(largest, work.wide);
      finite = std::isfinite(largest);
    }
    const int64_t place = group * work.rows + row;
    int8_t* bytes = work.values + place * kGroup;
    int32_t sum = 0;
    for (int part = 0; part < work.parts; ++part) {
      int32_t own = 0;
      if (finite) own = round_to_bytes(values + part * length, length, step.factor, bytes + part * length);
      if (work.offset != 0) work.starts[(group * work.parts + part) * work.rows + row] = -work.offset * own;
      sum += own;
    }
    if (!finite) std::memset(bytes, 0, kGroup);
    // A row with a number that is not finite gives none that is.
    work.scales[place] = finite ? step.scale : NAN;
    if (work.offset == 0) {
      const float scaled = step.size * static_cast<float>(sum);
      work.sums[place] = work.wide ? scaled : half_rounded(scaled);
    }
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
