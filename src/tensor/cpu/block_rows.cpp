#include "tensor/cpu/block_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/float16.h"

namespace fledge::tensor::cpu {
namespace {

const uint8_t* bytes_of(const std::byte* block, size_t offset) {
  return reinterpret_cast<const uint8_t*>(block) + offset;
}

uint8_t* bytes_of(std::byte* block, size_t offset) {
  return reinterpret_cast<uint8_t*>(block) + offset;
}

float load_f16(const std::byte* block, size_t offset) {
  uint16_t bits = 0;
  std::memcpy(&bits, block + offset, sizeof bits);
  return from_f16(bits);
}

void store_f16(std::byte* block, size_t offset, float value) {
  const uint16_t bits = to_f16(value);
  std::memcpy(block + offset, &bits, sizeof bits);
}

/// 1 / scale, or 0 where that is no number: such a scale is zero in f16.
float inverse_of(float scale) {
  const float inverse = 1.0f / scale;
  return scale == 0 || !std::isfinite(inverse) ? 0 : inverse;
}

uint8_t nibble_of(float value) {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(value), 0, 15));
}

/// The value of the largest magnitude in a block of 32, the first of several.
float peak_of(const float* values) {
  float peak = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::fabs(values[i]) > std::fabs(peak)) peak = values[i];
  }
  return peak;
}

}  // namespace

void dequantize_q8_0(const std::byte* block, float* out) {
  const float d = load_f16(block, 0);
  const auto* q = reinterpret_cast<const int8_t*>(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q[i]);
}

void dequantize_q4_0(const std::byte* block, float* out) {
  const float d = load_f16(block, 0);
  const uint8_t* q = bytes_of(block, 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((q[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
  }
}

void dequantize_q4_1(const std::byte* block, float* out) {
  const float d = load_f16(block, 0), m = load_f16(block, 2);
  const uint8_t* q = bytes_of(block, 4);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(q[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
  }
}

void dequantize_q4_k(const std::byte* block, float* out) {
  const float d = load_f16(block, 0), minimum = load_f16(block, 2);
  const uint8_t* q = bytes_of(block, 16);
  for (int group = 0; group < 8; ++group) {
    const GroupScale packed = group_scale(bytes_of(block, 4), group);
    const float scale = d * static_cast<float>(packed.scale), offset = minimum * static_cast<float>(packed.minimum);
    const uint8_t* nibbles = q + group / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int number = group % 2 == 0 ? nibbles[i] & 15 : nibbles[i] >> 4;
      out[group * 32 + i] = scale * static_cast<float>(number) - offset;
    }
  }
}

void dequantize_q6_k(const std::byte* block, float* out) {
  const float d = load_f16(block, 208);
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(scales[i / 16]);
    out[i] = scale * static_cast<float>(q6_k_number(bytes_of(block, 0), bytes_of(block, 128), i) - 32);
  }
}

void dequantize_q5_0(const std::byte* block, float* out) {
  const float d = load_f16(block, 0);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q5_0_number(bytes_of(block, 0), i) - 16);
}

void quantize_q8_0(const float* values, std::byte* block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float d = largest / 127.0f, inverse = inverse_of(d);
  store_f16(block, 0, d);
  auto* q = reinterpret_cast<int8_t*>(block + 2);
  for (int i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(std::round(values[i] * inverse));
}

void quantize_q4_0(const float* values, std::byte* block) {
  // The value of the largest magnitude becomes exactly -8 * d.
  const float d = peak_of(values) / -8.0f, inverse = inverse_of(d);
  store_f16(block, 0, d);
  uint8_t* q = bytes_of(block, 2);
  for (int i = 0; i < 16; ++i) {
    const uint8_t low = nibble_of(values[i] * inverse + 8.5f), high = nibble_of(values[i + 16] * inverse + 8.5f);
    q[i] = static_cast<uint8_t>(low | high << 4);
  }
}

void quantize_q4_1(const float* values, std::byte* block) {
  const auto [low_end, high_end] = std::minmax_element(values, values + 32);
  const float minimum = *low_end, d = (*high_end - minimum) / 15.0f, inverse = inverse_of(d);
  store_f16(block, 0, d);
  store_f16(block, 2, minimum);
  uint8_t* q = bytes_of(block, 4);
  for (int i = 0; i < 16; ++i) {
    const uint8_t low = nibble_of((values[i] - minimum) * inverse + 0.5f);
    const uint8_t high = nibble_of((values[i + 16] - minimum) * inverse + 0.5f);
    q[i] = static_cast<uint8_t>(low | high << 4);
  }
}

void quantize_q5_0(const float* values, std::byte* block) {
  const float d = peak_of(values) / -16.0f, inverse = inverse_of(d);
  store_f16(block, 0, d);
  uint8_t* q = bytes_of(block, 2);
  std::fill_n(q, 20, uint8_t{0});
  for (int i = 0; i < 32; ++i) {
    const int number = std::clamp(static_cast<int>(values[i] * inverse + 16.5f), 0, 31);
    q[i / 8] = static_cast<uint8_t>(q[i / 8] | number >> 4 << (i % 8));
    q[4 + i % 16] = static_cast<uint8_t>(q[4 + i % 16] | (number & 15) << (i < 16 ? 0 : 4));
  }
}

}  // namespace fledge::tensor::cpu
