#pragma once

#include <cstddef>
#include <cstdint>

namespace fledge::tensor::cpu {

/// A 6-bit scale and a 6-bit minimum of one of the eight groups of a q4_k block.
struct GroupScale {
  uint8_t scale, minimum;
};

/// Reads group `group` of the 12 bytes that hold all of them.
constexpr GroupScale group_scale(const uint8_t* packed, int group) {
  if (group < 4) {
    return {static_cast<uint8_t>(packed[group] & 63), static_cast<uint8_t>(packed[group + 4] & 63)};
  }
  // The upper two bits stand over the groups four before.
  return {static_cast<uint8_t>((packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4)),
          static_cast<uint8_t>((packed[group + 4] >> 4) | (packed[group] >> 6 << 4))};
}

/// Number q of element `element` (0..255) of a q6_k block, 0..63.
constexpr int q6_k_number(const uint8_t* low, const uint8_t* high, int element) {
  const int half = element / 128, quarter = element / 32 % 4, lane = element % 32;
  const uint8_t nibbles = low[half * 64 + quarter % 2 * 32 + lane];
  const int lower = quarter < 2 ? nibbles & 15 : nibbles >> 4;
  return lower | ((high[half * 32 + lane] >> (2 * quarter)) & 3) << 4;
}

/// Number q of element `element` (0..31) of a q5_0 block, 0..31.
constexpr int q5_0_number(const uint8_t* block, int element) {
  const int nibble = element < 16 ? block[6 + element] & 15 : block[6 + element - 16] >> 4;
  return nibble | (block[2 + element / 8] >> (element % 8) & 1) << 4;
}

/// One block of each type: values from bytes and back. `values` and `out` have 32 or 256 elements.
void dequantize_q8_0(const std::byte* block, float* out);
void dequantize_q4_0(const std::byte* block, float* out);
void dequantize_q4_1(const std::byte* block, float* out);
void dequantize_q4_k(const std::byte* block, float* out);
void dequantize_q6_k(const std::byte* block, float* out);
void dequantize_q5_0(const std::byte* block, float* out);
void quantize_q8_0(const float* values, std::byte* block);
void quantize_q4_0(const float* values, std::byte* block);
void quantize_q4_1(const float* values, std::byte* block);
void quantize_q4_k(const float* values, std::byte* block);
void quantize_q6_k(const float* values, std::byte* block);
void quantize_q5_0(const float* values, std::byte* block);

}  // namespace fledge::tensor::cpu
