#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace fledge::models {

/// Element types that a safetensors file may name. More than tensor::DType knows: a file with an unusual tensor can
/// still be listed, checked and read in its other tensors.
enum class StoredType : uint8_t {
  boolean,
  u8,
  i8,
  f4,
  f6_e2m3,
  f6_e3m2,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

/// The format's own name: "BF16".
std::string_view name_of(StoredType type);
/// Bits of one element.
uint64_t bits_of(StoredType type);
/// The type with that name, or nothing.
std::optional<StoredType> stored_type_named(std::string_view name);
/// The tensor type with the same bytes, or nothing where fledge has none.
std::optional<tensor::DType> dtype_of(StoredType type);
/// The stored type with the same bytes.
StoredType stored_type_of(tensor::DType dtype);

enum class Conversion { done, not_possible, out_of_range };

/// Converts `count` elements at `source` (any alignment) into `target` (aligned). Equal types are copied byte for byte;
/// floating point and integers convert to floating point, rounding to nearest; integers convert to integers where every
/// value fits (`out_of_range` otherwise, with part of `target` written). Floating point to integer is `not_possible`,
/// as are the types below 16 bits of floating point, complex numbers, and f16 as a target.
/// Works on every thread of the team.
Conversion convert_elements(StoredType from, const std::byte* source, tensor::DType to, std::byte* target,
                            int64_t count);

}  // namespace fledge::models
