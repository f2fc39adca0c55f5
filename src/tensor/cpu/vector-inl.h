// Loads, stores and loops over f32 vectors for arrays of f32 and bf16. Included once per Highway target.
#if defined(FLEDGE_TENSOR_CPU_VECTOR_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FLEDGE_TENSOR_CPU_VECTOR_INL_H
#undef FLEDGE_TENSOR_CPU_VECTOR_INL_H
#else
#define FLEDGE_TENSOR_CPU_VECTOR_INL_H
#endif

#include <hwy/highway.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;

HWY_INLINE FloatVector load(FloatTag d, const float* from) {
  return hn::LoadU(d, from);
}

HWY_INLINE FloatVector load(FloatTag d, const bf16* from) {
  const hn::Rebind<uint16_t, FloatTag> half;
  const hn::Repartition<uint32_t, FloatTag> wide;
  const auto bits = hn::LoadU(half, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
}

HWY_INLINE void store(FloatVector v, FloatTag d, float* to) {
  hn::StoreU(v, d, to);
}

/// Rounds to nearest, ties to even; a NaN stays a NaN (Highway 1.0.3 truncates, and the processor's own instruction
/// flushes subnormal numbers).
HWY_INLINE void store(FloatVector v, FloatTag, bf16* to) {
  const hn::Rebind<uint16_t, FloatTag> half;
  const hn::Repartition<uint32_t, FloatTag> wide;
  const auto bits = hn::BitCast(wide, v);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(wide, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(wide, 0x7fff)), odd));
  const auto quiet = hn::Or(upper, hn::Set(wide, 0x40));
  const auto result = hn::IfThenElse(hn::RebindMask(wide, hn::IsNaN(v)), quiet, rounded);
  hn::StoreU(hn::TruncateTo(half, result), half, reinterpret_cast<uint16_t*>(to));
}

/// The first `count` lanes, 0 < count < lanes; the others are 0. Reads nothing beyond them.
template <typename T>
HWY_INLINE FloatVector load_part(FloatTag d, const T* from, size_t count) {
  HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
  std::memcpy(lanes, from, count * sizeof(T));
  return load(d, lanes);
}

template <typename T>
HWY_INLINE void store_part(FloatVector v, FloatTag d, T* to, size_t count) {
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  store(v, d, lanes);
  std::memcpy(to, lanes, count * sizeof(T));
}

/// What a loop over an array hands to its body at each step: a place, and how many elements stand there. Loads give 0
/// beyond them, stores write only them.
struct Whole {
  size_t at;
  template <typename T>
  HWY_INLINE FloatVector load_from(const T* array) const {
    return load(FloatTag(), array + at);
  }
  template <typename T>
  HWY_INLINE void store_to(T* array, FloatVector v) const {
    store(v, FloatTag(), array + at);
  }
  /// v where there are elements, 0 beyond.
  HWY_INLINE FloatVector only(FloatVector v) const { return v; }
};

struct Part {
  size_t at;
  size_t count;
  template <typename T>
  HWY_INLINE FloatVector load_from(const T* array) const {
    return load_part(FloatTag(), array + at, count);
  }
  template <typename T>
  HWY_INLINE void store_to(T* array, FloatVector v) const {
    store_part(v, FloatTag(), array + at, count);
  }
  HWY_INLINE FloatVector only(FloatVector v) const { return hn::IfThenElseZero(hn::FirstN(FloatTag(), count), v); }
};

/// Calls body(place) for `count` elements, a vector at a time.
template <class Body>
HWY_INLINE void for_each_vector(size_t count, const Body& body) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t at = 0;
  for (; at + lanes <= count; at += lanes) body(Whole{at});
  if (at < count) body(Part{at, count - at});
}

/// Calls body(place, lane group), the group going round 0, 1, 2, 3 as a compile-time constant: independent sums hide
/// the latency of an addition.
template <class Body>
HWY_INLINE void for_each_vector_by_four(size_t count, const Body& body) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t at = 0;
  for (; at + 4 * lanes <= count; at += 4 * lanes) {
    body(Whole{at}, std::integral_constant<int, 0>());
    body(Whole{at + lanes}, std::integral_constant<int, 1>());
    body(Whole{at + 2 * lanes}, std::integral_constant<int, 2>());
    body(Whole{at + 3 * lanes}, std::integral_constant<int, 3>());
  }
  for (; at + lanes <= count; at += lanes) body(Whole{at}, std::integral_constant<int, 0>());
  if (at < count) body(Part{at, count - at}, std::integral_constant<int, 1>());
}

HWY_INLINE float sum_of_lanes(FloatVector v) {
  return hn::GetLane(hn::SumOfLanes(FloatTag(), v));
}

/// Calls body(T{}) with T = bf16 or float.
template <class Body>
HWY_INLINE void with_element(DType dtype, const Body& body) {
  if (dtype == DType::bf16) {
    body(bf16{});
  } else {
    body(float{});
  }
}

/// The greatest of `count` elements. A NaN may be passed over; the sum of exponentials will show it.
HWY_INLINE float greatest_of(const float* values, size_t count) {
  const FloatTag d;
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVector greatest[4] = {lowest, lowest, lowest, lowest};
  const size_t whole = count - count % hn::Lanes(d);
  for_each_vector_by_four(whole, [&](auto place, auto group)
                                     HWY_ATTR { greatest[group] = hn::Max(place.load_from(values), greatest[group]); });
  const auto both = hn::Max(hn::Max(greatest[0], greatest[1]), hn::Max(greatest[2], greatest[3]));
  float result = hn::GetLane(hn::MaxOfLanes(d, both));
  for (size_t i = whole; i < count; ++i) result = values[i] > result ? values[i] : result;
  return result;
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
