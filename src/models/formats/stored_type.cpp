#include "models/formats/stored_type.h"

#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/parallel.h"

namespace fledge::models {
namespace {

using tensor::bf16;
using tensor::DType;

struct Row {
  StoredType type;
  std::string_view name;
  uint64_t bits;
  std::optional<DType> dtype;
};

// In the order of the enumeration.
constexpr std::array<Row, 20> kTypes{{
    {StoredType::boolean, "BOOL", 8, std::nullopt},    {StoredType::u8, "U8", 8, DType::u8},
    {StoredType::i8, "I8", 8, std::nullopt},           {StoredType::f4, "F4", 4, std::nullopt},
    {StoredType::f6_e2m3, "F6_E2M3", 6, std::nullopt}, {StoredType::f6_e3m2, "F6_E3M2", 6, std::nullopt},
    {StoredType::f8_e5m2, "F8_E5M2", 8, std::nullopt}, {StoredType::f8_e4m3, "F8_E4M3", 8, std::nullopt},
    {StoredType::f8_e8m0, "F8_E8M0", 8, std::nullopt}, {StoredType::i16, "I16", 16, std::nullopt},
    {StoredType::u16, "U16", 16, DType::u16},          {StoredType::f16, "F16", 16, DType::f16},
    {StoredType::bf16, "BF16", 16, DType::bf16},       {StoredType::i32, "I32", 32, DType::i32},
    {StoredType::u32, "U32", 32, std::nullopt},        {StoredType::f32, "F32", 32, DType::f32},
    {StoredType::c64, "C64", 64, std::nullopt},        {StoredType::f64, "F64", 64, DType::f64},
    {StoredType::i64, "I64", 64, DType::i64},          {StoredType::u64, "U64", 64, std::nullopt},
}};

const Row& row_of(StoredType type) {
  return kTypes[static_cast<size_t>(type)];
}

/// IEEE 754 binary16. Widening is exact, and uses no subnormal f32, so that it does not depend on the processor's
/// flush-to-zero setting.
struct Half {
  uint16_t bits;

  float value() const {
    const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude < 0x400u) {
      const float small = static_cast<float>(magnitude) * 0x1p-24f;
      return sign ? -small : small;
    }
    // The exponent's bias grows from 15 to 127; infinities and NaNs (exponent 31) go to exponent 255.
    const uint32_t rebias = magnitude >= 0x7c00u ? 2 * (112u << 23) : 112u << 23;
    return std::bit_cast<float>(sign | ((magnitude << 13) + rebias));
  }
};

/// One byte that is zero or not.
struct Boolean {
  uint8_t bits;
};

template <typename From>
auto value_of(From stored) {
  if constexpr (std::is_same_v<From, Half>) {
    return stored.value();
  } else if constexpr (std::is_same_v<From, Boolean>) {
    return static_cast<uint8_t>(stored.bits != 0);
  } else if constexpr (std::is_same_v<From, bf16>) {
    return static_cast<float>(stored);
  } else {
    return stored;
  }
}

template <typename From, typename To>
bool convert_range(const std::byte* source, To* target, int64_t first, int64_t last) {
  bool fits = true;
  for (int64_t i = first; i < last; ++i) {
    From stored;
    std::memcpy(&stored, source + static_cast<size_t>(i) * sizeof(From), sizeof(From));
    const auto value = value_of(stored);
    if constexpr (std::is_integral_v<To>) {
      fits &= std::in_range<To>(value);
      target[i] = static_cast<To>(value);
    } else {
      target[i] = tensor::convert<To>(value);
    }
  }
  return fits;
}

constexpr int64_t kGrain = 1 << 16;

template <typename From, typename To>
Conversion convert_all(const std::byte* source, To* target, int64_t count) {
  if constexpr (std::is_integral_v<To> && !std::is_integral_v<decltype(value_of(From{}))>) {
    return Conversion::not_possible;
  } else {
    std::atomic<bool> fits{true};
    base::parallel_for(count, kGrain, [&](int64_t first, int64_t last) {
      if (!convert_range<From, To>(source, target, first, last)) fits.store(false, std::memory_order_relaxed);
    });
    return fits ? Conversion::done : Conversion::out_of_range;
  }
}

template <typename From>
Conversion convert_to(const std::byte* source, DType to, std::byte* target, int64_t count) {
  switch (to) {
    case DType::f64:
      return convert_all<From>(source, reinterpret_cast<double*>(target), count);
    case DType::f32:
      return convert_all<From>(source, reinterpret_cast<float*>(target), count);
    case DType::bf16:
      return convert_all<From>(source, reinterpret_cast<bf16*>(target), count);
    case DType::i64:
      return convert_all<From>(source, reinterpret_cast<int64_t*>(target), count);
    case DType::i32:
      return convert_all<From>(source, reinterpret_cast<int32_t*>(target), count);
    case DType::u16:
      return convert_all<From>(source, reinterpret_cast<uint16_t*>(target), count);
    case DType::u8:
      return convert_all<From>(source, reinterpret_cast<uint8_t*>(target), count);
    case DType::f16:
      break;
  }
  return Conversion::not_possible;
}

void copy(const std::byte* source, std::byte* target, int64_t bytes) {
  base::parallel_for(bytes, kGrain * 4, [&](int64_t first, int64_t last) {
    std::memcpy(target + first, source + first, static_cast<size_t>(last - first));
  });
}

}  // namespace

std::string_view name_of(StoredType type) {
  return row_of(type).name;
}

uint64_t bits_of(StoredType type) {
  return row_of(type).bits;
}

std::optional<StoredType> stored_type_named(std::string_view name) {
  for (const Row& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

std::optional<DType> dtype_of(StoredType type) {
  return row_of(type).dtype;
}

StoredType stored_type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return StoredType::f64;
    case DType::f32:
      return StoredType::f32;
    case DType::bf16:
      return StoredType::bf16;
    case DType::f16:
      return StoredType::f16;
    case DType::i64:
      return StoredType::i64;
    case DType::i32:
      return StoredType::i32;
    case DType::u16:
      return StoredType::u16;
    case DType::u8:
      return StoredType::u8;
  }
  return StoredType::u8;
}

Conversion convert_elements(StoredType from, const std::byte* source, DType to, std::byte* target, int64_t count) {
  if (from == stored_type_of(to)) {
    copy(source, target, count * static_cast<int64_t>(tensor::size_of(to)));
    return Conversion::done;
  }
  switch (from) {
    case StoredType::boolean:
      return convert_to<Boolean>(source, to, target, count);
    case StoredType::u8:
      return convert_to<uint8_t>(source, to, target, count);
    case StoredType::i8:
      return convert_to<int8_t>(source, to, target, count);
    case StoredType::i16:
      return convert_to<int16_t>(source, to, target, count);
    case StoredType::u16:
      return convert_to<uint16_t>(source, to, target, count);
    case StoredType::f16:
      return convert_to<Half>(source, to, target, count);
    case StoredType::bf16:
      return convert_to<bf16>(source, to, target, count);
    case StoredType::i32:
      return convert_to<int32_t>(source, to, target, count);
    case StoredType::u32:
      return convert_to<uint32_t>(source, to, target, count);
    case StoredType::f32:
      return convert_to<float>(source, to, target, count);
    case StoredType::f64:
      return convert_to<double>(source, to, target, count);
    case StoredType::i64:
      return convert_to<int64_t>(source, to, target, count);
    case StoredType::u64:
      return convert_to<uint64_t>(source, to, target, count);
    case StoredType::f4:
    case StoredType::f6_e2m3:
    case StoredType::f6_e3m2:
    case StoredType::f8_e5m2:
    case StoredType::f8_e4m3:
    case StoredType::f8_e8m0:
    case StoredType::c64:
      break;
  }
  return Conversion::not_possible;
}

}  // namespace fledge::models
