#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tensor/block_format.h"
#include "tensor/shape.h"

namespace fledge::models {

/// Types of a GGUF file's metadata, with the format's own numbers.
enum class GgufValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// "UINT32", "ARRAY", ...
std::string_view name_of(GgufValueType type);

/// One value of the metadata. Arrays are JSON arrays; strings may hold any bytes.
struct GgufValue {
  GgufValueType type = GgufValueType::u32;
  GgufValueType element = GgufValueType::u32;  ///< of an array
  base::Json content;
};

/// The metadata in the order of the file.
class GgufMetadata {
 public:
  const std::vector<std::pair<std::string, GgufValue>>& entries() const { return entries_; }
  /// Null where there is none.
  const GgufValue* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  /// Adds a value, or replaces the one of that key in its place.
  void set(std::string key, GgufValue value);
  /// Adds a value whose key is known to be new.
  void add(std::string key, GgufValue value) { entries_.emplace_back(std::move(key), std::move(value)); }
  void remove(std::string_view key);

  // For the usual types.
  void set_u32(std::string key, int64_t value);
  void set_f32(std::string key, double value);
  void set_bool(std::string key, bool value);
  void set_string(std::string key, std::string value);
  void set_array(std::string key, GgufValueType element, base::Json values);

  /// The value of that key as T (bool, int64_t, double, std::string), or `fallback` where there is none. Throws Error
  /// naming `origin` and the key where it is of another kind.
  template <typename T>
  T get(std::string_view key, T fallback, std::string_view origin) const;
  /// The same for a key that must be there.
  template <typename T>
  T require(std::string_view key, std::string_view origin) const;
  /// An array; null where there is none. Throws Error where it is no array of `element`s.
  const base::Json* array(std::string_view key, GgufValueType element, std::string_view origin) const;

 private:
  std::vector<std::pair<std::string, GgufValue>> entries_;
};

/// How a tensor's elements are stored, by the format's own number. Types that fledge cannot read are known by name and
/// size, so that the file's other tensors can be read.
struct GgufType {
  uint32_t number = 0;
  std::string_view name;  ///< "F32", "Q4_K", ...
  int64_t block_elements = 1;
  uint64_t block_bytes = 4;
  std::optional<tensor::BlockType> blocks = std::nullopt;  ///< one of fledge's block formats
  /// Values of one block, where it is none of those and can be read all the same.
  void (*dequantize)(const std::byte* block, float* out) = nullptr;

  bool operator==(const GgufType& other) const { return number == other.number; }
};

extern const GgufType kGgufF32, kGgufF16, kGgufBf16, kGgufF64;
/// The type of that number, or null.
const GgufType* gguf_type_numbered(uint32_t number);
/// The type with a name as "q4_k" or "Q4_K", or null.
const GgufType* gguf_type_named(std::string_view name);
const GgufType& gguf_type_of(tensor::BlockType type);

/// Where a tensor lies in a GGUF file.
struct GgufTensor {
  std::string name;
  const GgufType* type = nullptr;
  tensor::Shape shape;  ///< outermost dimension first, the opposite of the file's order
  uint64_t begin = 0;   ///< first byte, counted from the beginning of the data
  uint64_t end = 0;     ///< one past the last byte
};

struct GgufHeader {
  uint32_t version = 3;
  uint64_t alignment = 32;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  ///< in the order of the file
  uint64_t data_begin = 0;          ///< byte of the file at which the tensors start
};

/// Most values of all arrays together: many times the largest vocabularies.
inline constexpr uint64_t kMostGgufValues = uint64_t{1} << 23;

/// Reads and checks the header of a whole GGUF file of version 2 or 3 (little-endian). Everything is checked before it
/// is trusted: counts against the bytes that are there, lengths, the depth of nested arrays, names that come twice,
/// shapes, alignment, and that every tensor's bytes are inside the file and overlap no other's. Throws base::Error
/// naming `origin`, the key or tensor, what was found and what was expected. Format:
/// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
GgufHeader parse_gguf_header(std::span<const std::byte> file, std::string_view origin);

/// Bytes that a tensor takes, or nothing where they cannot be counted, or its rows are no whole blocks.
std::optional<uint64_t> gguf_byte_count(const tensor::Shape& shape, const GgufType& type);

/// The header's bytes up to the data, for tensors in the order given with `begin` and `end` set. Throws base::Error for
/// what the format cannot hold.
std::string gguf_header_text(const GgufHeader& header, std::string_view origin);

}  // namespace fledge::models
