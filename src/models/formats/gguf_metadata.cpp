#include <algorithm>
#include <array>
#include <type_traits>

#include "base/error.h"
#include "base/json.h"
#include "models/formats/gguf_blocks.h"
#include "models/formats/gguf_header.h"
#include "models/formats/safetensors_header.h"

namespace fledge::models {

using base::Error;
using base::Json;
using tensor::BlockType;

std::string_view name_of(GgufValueType type) {
  constexpr std::string_view kNames[] = {"UINT8", "INT8",   "UINT16", "INT16",  "UINT32", "INT32",  "FLOAT32",
                                         "BOOL",  "STRING", "ARRAY",  "UINT64", "INT64",  "FLOAT64"};
  return kNames[static_cast<size_t>(type)];
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = std::ranges::find_if(entries_, [&](const auto& entry) { return entry.first == key; });
  return found == entries_.end() ? nullptr : &found->second;
}

void GgufMetadata::set(std::string key, GgufValue value) {
  const auto found = std::ranges::find_if(entries_, [&](const auto& entry) { return entry.first == key; });
  if (found == entries_.end()) {
    entries_.emplace_back(std::move(key), std::move(value));
  } else {
    found->second = std::move(value);
  }
}

void GgufMetadata::remove(std::string_view key) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.first == key; });
}

void GgufMetadata::set_u32(std::string key, int64_t value) {
  set(std::move(key), {GgufValueType::u32, {}, value});
}

void GgufMetadata::set_f32(std::string key, double value) {
  set(std::move(key), {GgufValueType::f32, {}, value});
}

void GgufMetadata::set_bool(std::string key, bool value) {
  set(std::move(key), {GgufValueType::boolean, {}, value});
}

void GgufMetadata::set_string(std::string key, std::string value) {
  set(std::move(key), {GgufValueType::string, {}, std::move(value)});
}

void GgufMetadata::set_array(std::string key, GgufValueType element, Json values) {
  set(std::move(key), {GgufValueType::array, element, std::move(values)});
}

template <typename T>
T GgufMetadata::require(std::string_view key, std::string_view origin) const {
  const GgufValue* value = find(key);
  if (value == nullptr) throw Error("{}: the metadata has no {}", origin, quoted_name(key));
  const Json& content = value->content;
  bool fits = false;
  if constexpr (std::is_same_v<T, bool>) {
    fits = content.is_boolean();
  } else if constexpr (std::is_same_v<T, int64_t>) {
    fits = content.is_number_integer() && !(content.is_number_unsigned() && content.get<uint64_t>() > INT64_MAX);
  } else if constexpr (std::is_same_v<T, double>) {
    fits = content.is_number();
  } else {
    fits = content.is_string();
  }
  if (!fits) {
    throw Error("{}: the metadata {} is of the type {}, expected {}", origin, quoted_name(key), name_of(value->type),
                std::is_same_v<T, bool>          ? "a boolean"
                : std::is_same_v<T, int64_t>     ? "a whole number"
                : std::is_same_v<T, std::string> ? "a string"
                                                 : "a number");
  }
  return content.get<T>();
}

template <typename T>
T GgufMetadata::get(std::string_view key, T fallback, std::string_view origin) const {
  return contains(key) ? require<T>(key, origin) : fallback;
}

template bool GgufMetadata::require(std::string_view, std::string_view) const;
template int64_t GgufMetadata::require(std::string_view, std::string_view) const;
template double GgufMetadata::require(std::string_view, std::string_view) const;
template std::string GgufMetadata::require(std::string_view, std::string_view) const;
template bool GgufMetadata::get(std::string_view, bool, std::string_view) const;
template int64_t GgufMetadata::get(std::string_view, int64_t, std::string_view) const;
template double GgufMetadata::get(std::string_view, double, std::string_view) const;
template std::string GgufMetadata::get(std::string_view, std::string, std::string_view) const;

const Json* GgufMetadata::array(std::string_view key, GgufValueType element, std::string_view origin) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return nullptr;
  if (value->type != GgufValueType::array || value->element != element) {
    throw Error("{}: the metadata {} is no array of {}", origin, quoted_name(key), name_of(element));
  }
  return &value->content;
}

namespace {

constexpr std::array kTypes = {
    GgufType{0, "F32", 1, 4},
    GgufType{1, "F16", 1, 2},
    GgufType{2, "Q4_0", 32, 18, BlockType::q4_0},
    GgufType{3, "Q4_1", 32, 20, BlockType::q4_1},
    GgufType{6, "Q5_0", 32, 22, BlockType::q5_0},
    GgufType{7, "Q5_1", 32, 24, {}, dequantize_q5_1},
    GgufType{8, "Q8_0", 32, 34, BlockType::q8_0},
    GgufType{9, "Q8_1", 32, 40},
    GgufType{10, "Q2_K", 256, 84, {}, dequantize_q2_k},
    GgufType{11, "Q3_K", 256, 110, {}, dequantize_q3_k},
    GgufType{12, "Q4_K", 256, 144, BlockType::q4_k},
    GgufType{13, "Q5_K", 256, 176, {}, dequantize_q5_k},
    GgufType{14, "Q6_K", 256, 210, BlockType::q6_k},
    GgufType{15, "Q8_K", 256, 292},
    GgufType{16, "IQ2_XXS", 256, 66},
    GgufType{17, "IQ2_XS", 256, 74},
    GgufType{18, "IQ3_XXS", 256, 98},
    GgufType{19, "IQ1_S", 256, 50},
    GgufType{20, "IQ4_NL", 32, 18},
    GgufType{21, "IQ3_S", 256, 110},
    GgufType{22, "IQ2_S", 256, 82},
    GgufType{23, "IQ4_XS", 256, 136},
    GgufType{24, "I8", 1, 1},
    GgufType{25, "I16", 1, 2},
    GgufType{26, "I32", 1, 4},
    GgufType{27, "I64", 1, 8},
    GgufType{28, "F64", 1, 8},
    GgufType{29, "IQ1_M", 256, 56},
    GgufType{30, "BF16", 1, 2},
    GgufType{34, "TQ1_0", 256, 54},
    GgufType{35, "TQ2_0", 256, 66},
    GgufType{39, "MXFP4", 32, 17},
    GgufType{40, "NVFP4", 64, 36},
    GgufType{41, "Q1_0", 128, 18},
};

}  // namespace

const GgufType kGgufF32 = *gguf_type_numbered(0), kGgufF16 = *gguf_type_numbered(1),
               kGgufBf16 = *gguf_type_numbered(30), kGgufF64 = *gguf_type_numbered(28);

const GgufType* gguf_type_numbered(uint32_t number) {
  const auto* found = std::ranges::find(kTypes, number, &GgufType::number);
  return found == kTypes.end() ? nullptr : found;
}

const GgufType* gguf_type_named(std::string_view name) {
  const auto* found = std::ranges::find_if(kTypes, [&](const GgufType& type) {
    return std::ranges::equal(type.name, name, [](char a, char b) { return a == (b >= 'a' && b <= 'z' ? b - 32 : b); });
  });
  return found == kTypes.end() ? nullptr : found;
}

const GgufType& gguf_type_of(BlockType type) {
  return *std::ranges::find(kTypes, std::optional(type), &GgufType::blocks);
}

}  // namespace fledge::models
