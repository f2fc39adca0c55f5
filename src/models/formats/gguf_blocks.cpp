#include "models/formats/gguf_blocks.h"

#include <cstdint>
#include <cstring>

#include "tensor/cpu/block_rows.h"
#include "tensor/float16.h"

namespace fledge::models {
namespace {

const uint8_t* bytes_of(const std::byte* block, size_t offset) {
  return reinterpret_cast<const uint8_t*>(block) + offset;
}

float load_f16(const std::byte* block, size_t offset) {
  uint16_t bits = 0;
  std::memcpy(&bits, block + offset, sizeof bits);
  return tensor::from_f16(bits);
}

/// Two bits of element `element` (0..255) of a block: a byte holds elements of four quarters of a half.
int two_bits(const uint8_t* packed, int element) {
  return packed[element / 128 * 32 + element % 32] >> (element / 32 % 4 * 2) & 3;
}

/// The scale of group `group` (0..15) of a q3_k block, -32..31: four bits in the first eight bytes, two in the others.
int q3_k_scale(const uint8_t* packed, int group) {
  const int low = packed[group % 8] >> (group / 8 * 4) & 15, high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

}  // namespace

void dequantize_q5_1(const std::byte* block, float* out) {
  const float d = load_f16(block, 0), m = load_f16(block, 2);
  const uint8_t *high = bytes_of(block, 4), *nibbles = bytes_of(block, 8);
  for (int i = 0; i < 32; ++i) {
    const int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
    out[i] = d * static_cast<float>(low | (high[i / 8] >> (i % 8) & 1) << 4) + m;
  }
}

void dequantize_q5_k(const std::byte* block, float* out) {
  const float d = load_f16(block, 0), minimum = load_f16(block, 2);
  const uint8_t *high = bytes_of(block, 16), *nibbles = bytes_of(block, 48);
  for (int group = 0; group < 8; ++group) {
    const tensor::cpu::GroupScale packed = tensor::cpu::group_scale(bytes_of(block, 4), group);
    const float scale = d * static_cast<float>(packed.scale), offset = minimum * static_cast<float>(packed.minimum);
    for (int i = 0; i < 32; ++i) {
      const int low = nibbles[group / 2 * 32 + i] >> (group % 2 * 4) & 15;
      out[group * 32 + i] = scale * static_cast<float>(low | (high[i] >> group & 1) << 4) - offset;
    }
  }
}

void dequantize_q2_k(const std::byte* block, float* out) {
  const float d = load_f16(block, 80), minimum = load_f16(block, 82);
  const uint8_t *scales = bytes_of(block, 0), *numbers = bytes_of(block, 16);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(scales[i / 16] & 15),
                offset = minimum * static_cast<float>(scales[i / 16] >> 4);
    out[i] = scale * static_cast<float>(two_bits(numbers, i)) - offset;
  }
}

void dequantize_q3_k(const std::byte* block, float* out) {
  const float d = load_f16(block, 108);
  const uint8_t *high = bytes_of(block, 0), *numbers = bytes_of(block, 32), *scales = bytes_of(block, 96);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(q3_k_scale(scales, i / 16));
    const bool is_high = (high[i % 32] >> (i / 32) & 1) != 0;
    out[i] = scale * static_cast<float>(two_bits(numbers, i) - (is_high ? 0 : 4));
  }
}

}  // namespace fledge::models
