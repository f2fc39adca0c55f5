#pragma once

#include <stdint.h>

namespace fledge::tensor::cpu {
namespace {

/// Two vectors of the class V (see quantized_multiply-inl.h) as one of twice the lanes: an activation that was spread
/// over a vector serves both.
template <class V>
struct Twin {
  struct Ints {
    typename V::Ints low, high;
  };
  struct Floats {
    typename V::Floats low, high;
  };
  static constexpr int kLanes = 2 * V::kLanes, kMaximumRows = V::kMaximumRows;
  static constexpr bool kShortSums = V::kShortSums;
  // Where the upper lanes stand, by the size of what is loaded.
  static constexpr int kWords = 4 * V::kLanes, kShorts = 2 * V::kLanes, kBytes = V::kLanes;

  static Ints load(const uint8_t* from) { return {V::load(from), V::load(from + kWords)}; }
  static Ints zero_ints() { return {V::zero_ints(), V::zero_ints()}; }
  static Ints broadcast(int32_t value) {
    const auto both = V::broadcast(value);
    return {both, both};
  }
  static Ints add(Ints a, Ints b) { return {V::add(a.low, b.low), V::add(a.high, b.high)}; }
  static Ints low_nibbles(Ints both) { return {V::low_nibbles(both.low), V::low_nibbles(both.high)}; }
  static Ints high_nibbles(Ints both) { return {V::high_nibbles(both.low), V::high_nibbles(both.high)}; }
  template <int place>
  static Ints with_upper_bits(Ints low, Ints bits) {
    return {V::template with_upper_bits<place>(low.low, bits.low),
            V::template with_upper_bits<place>(low.high, bits.high)};
  }
  static Ints multiply_pairs(Ints word, int32_t values) {
    return {V::multiply_pairs(word.low, values), V::multiply_pairs(word.high, values)};
  }
  static Ints add_shorts(Ints a, Ints b) { return {V::add_shorts(a.low, b.low), V::add_shorts(a.high, b.high)}; }
  template <int factor>
  static Ints add_pairs(Ints sum, Ints pairs) {
    return {V::template add_pairs<factor>(sum.low, pairs.low), V::template add_pairs<factor>(sum.high, pairs.high)};
  }

  static Floats zero() { return {V::zero(), V::zero()}; }
  static Floats broadcast(float value) {
    const auto both = V::broadcast(value);
    return {both, both};
  }
  static Floats from_f16(const uint8_t* from) { return {V::from_f16(from), V::from_f16(from + kShorts)}; }
  static Floats from_u8(const uint8_t* from) { return {V::from_u8(from), V::from_u8(from + kBytes)}; }
  static Floats from_i8(const uint8_t* from) { return {V::from_i8(from), V::from_i8(from + kBytes)}; }
  static Floats to_floats(Ints value) { return {V::to_floats(value.low), V::to_floats(value.high)}; }
  static Floats negative(Floats value) { return {V::negative(value.low), V::negative(value.high)}; }
  static Floats multiply(Floats a, Floats b) { return {V::multiply(a.low, b.low), V::multiply(a.high, b.high)}; }
  static Floats multiply_add(Floats a, Floats b, Floats c) {
    return {V::multiply_add(a.low, b.low, c.low), V::multiply_add(a.high, b.high, c.high)};
  }
  static void store(float* to, Floats value) {
    V::store(to, value.low);
    V::store(to + V::kLanes, value.high);
  }
};

}  // namespace
}  // namespace fledge::tensor::cpu
