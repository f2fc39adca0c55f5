#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fledge::tensor {

/// Element types. Floating point first, then integers.
enum class DType : uint8_t { f64, f32, bf16, f16, i64, i32, u16, u8 };

/// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
    case DType::u16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

/// "f32", "bf16", ...
constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view kNames[] = {"f64", "f32", "bf16", "f16", "i64", "i32", "u16", "u8"};
  return kNames[static_cast<size_t>(dtype)];
}

/// The upper half of an f32: 8 bits of exponent and 8 of precision (7 stored).
struct bf16 {
  uint16_t bits = 0;

  constexpr operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }  // NOLINT: widening is exact

  /// Round to nearest, ties to even; a NaN stays a NaN.
  static constexpr bf16 from(float value) {
    const uint32_t word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((word >> 16) | 0x40u)};
    return {static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16)};
  }
};
static_assert(sizeof(bf16) == 2);

/// DType of a C++ element type.
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::u16;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};

/// Converts between floating-point element types, rounding to nearest.
template <typename To, typename From>
constexpr To convert(From value) {
  if constexpr (std::is_same_v<To, bf16>) {
    return bf16::from(static_cast<float>(value));
  } else if constexpr (std::is_same_v<From, bf16>) {
    return static_cast<To>(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace fledge::tensor
