#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/cpu/block_rows.h"
#include "tensor/cpu/quantized_kernel.h"

// From rows of blocks to panels; see quantized_functions.h on their layout.
namespace fledge::tensor::cpu {
namespace {

struct Layout {
  int64_t header_bytes;  ///< of 8 groups
  int64_t weight_bytes;  ///< of a group
  int64_t scale_bytes;   ///< of a group
};

constexpr Layout layout_of(PanelKind kind) {
  switch (kind) {
    case PanelKind::q8_0:
      return {0, 512, 32};
    case PanelKind::q4_0:
      return {0, 256, 32};
    case PanelKind::q4_1:
      return {0, 256, 64};
    case PanelKind::q4_k:
      return {64, 256, 32};
    case PanelKind::q6_k:
      return {32, 384, 32};
    case PanelKind::wide:
      return {0, 512, 64};
    case PanelKind::wide_minimum:
    case PanelKind::wide_halves:
      return {0, 512, 128};
  }
  return {};
}

using Numbers = std::array<uint8_t, kGroup>;

/// One output's numbers of a group as words of a panel.
void put_bytes(const Numbers& numbers, int output, uint8_t* weights) {
  for (size_t j = 0; j < 8; ++j) std::memcpy(weights + j * 64 + output * 4, numbers.data() + j * 4, 4);
}

void put_nibbles(const Numbers& numbers, int output, uint8_t* weights) {
  for (size_t i = 0; i < 16; ++i) {
    weights[i / 4 * 64 + static_cast<size_t>(output) * 4 + i % 4] =
        static_cast<uint8_t>((numbers[i] & 15) | numbers[i + 16] << 4);
  }
}

void put_upper_bits(const Numbers& numbers, int output, uint8_t* weights) {
  for (size_t i = 0; i < 8; ++i) {
    unsigned bits = 0;
    for (size_t place = 0; place < 4; ++place) bits |= unsigned{numbers[place * 8 + i]} >> 4 << (2 * place);
    weights[i / 4 * 64 + static_cast<size_t>(output) * 4 + i % 4] = static_cast<uint8_t>(bits);
  }
}

/// Numbers of group `group` (0 to 7 in a block of 256) as they are stored in panels: unsigned.
Numbers numbers_of(BlockType type, const uint8_t* block, int64_t group) {
  Numbers numbers;
  for (size_t i = 0; i < kGroup; ++i) {
    switch (type) {
      case BlockType::q8_0:
        numbers[i] = block[2 + i] ^ 0x80;
        break;
      case BlockType::q5_0:
        numbers[i] = static_cast<uint8_t>(q5_0_number(block, static_cast<int>(i)) - 16 + 128);
        break;
      case BlockType::q4_0:
      case BlockType::q4_1: {
        const uint8_t byte = block[(type == BlockType::q4_0 ? 2 : 4) + i % 16];
        numbers[i] = i < 16 ? byte & 15 : byte >> 4;
        break;
      }
      case BlockType::q4_k: {
        const uint8_t byte = block[16 + static_cast<size_t>(group) / 2 * 32 + i];
        numbers[i] = group % 2 == 0 ? byte & 15 : byte >> 4;
        break;
      }
      case BlockType::q6_k:
        numbers[i] = static_cast<uint8_t>(
            q6_k_number(block, block + 128, static_cast<int>(group) * kGroup + static_cast<int>(i)));
        break;
    }
  }
  return numbers;
}

/// The f16 number at `offset` of a block becomes that of an output.
void put_f16(const uint8_t* block, size_t offset, int output, uint8_t* numbers) {
  std::memcpy(numbers + output * 2, block + offset, 2);
}

void put_header(BlockType type, const uint8_t* block, int output, uint8_t* header) {
  if (type == BlockType::q6_k) put_f16(block, 208, output, header);
  if (type != BlockType::q4_k) return;
  put_f16(block, 0, output, header);
  put_f16(block, 2, output, header + 32);
}

void put_scales(BlockType type, const uint8_t* block, int64_t group, int output, uint8_t* scales) {
  switch (type) {
    case BlockType::q8_0:
    case BlockType::q5_0:
    case BlockType::q4_0:
      put_f16(block, 0, output, scales);
      break;
    case BlockType::q4_1:
      put_f16(block, 0, output, scales);
      put_f16(block, 2, output, scales + 32);
      break;
    case BlockType::q4_k: {
      const GroupScale small = group_scale(block + 4, static_cast<int>(group));
      scales[output] = small.scale;
      scales[16 + output] = small.minimum;
      break;
    }
    case BlockType::q6_k:
      scales[output] = block[192 + 2 * group];
      scales[16 + output] = block[193 + 2 * group];
      break;
  }
}

void put_numbers(BlockType type, const Numbers& numbers, int output, uint8_t* weights) {
  if (computed_type(type) == BlockType::q8_0) return put_bytes(numbers, output, weights);
  put_nibbles(numbers, output, weights);
  if (type == BlockType::q6_k) put_upper_bits(numbers, output, weights + 256);
}

}  // namespace

size_t panel_bytes(PanelKind kind, int64_t groups) {
  const Layout layout = layout_of(kind);
  return static_cast<size_t>(groups * (layout.weight_bytes + layout.scale_bytes) +
                             groups / kSuperGroups * layout.header_bytes);
}

void pack_panel(const BlockMatrix& matrix, int64_t row, uint8_t* panel) {
  const BlockType type = matrix.type;
  const Layout layout = layout_of(panel_kind(type));
  const int64_t groups = matrix.columns / kGroup, block_groups = block_elements(type) / kGroup;
  const size_t stride = row_bytes(type, matrix.columns);
  std::fill_n(panel, panel_bytes(panel_kind(type), groups), uint8_t{0});
  const auto outputs = static_cast<int>(std::min<int64_t>(kPanelRows, matrix.rows - row));
  for (int output = 0; output < outputs; ++output) {
    const auto* block =
        reinterpret_cast<const uint8_t*>(matrix.bytes.raw()) + static_cast<size_t>(row + output) * stride;
    uint8_t* target = panel;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t place = group % block_groups;
      if (place == 0) {
        if (group > 0) block += block_bytes(type);
        put_header(type, block, output, target);
        target += layout.header_bytes;
      }
      put_numbers(type, numbers_of(type, block, place), output, target);
      put_scales(type, block, place, output, target + layout.weight_bytes);
      target += layout.weight_bytes + layout.scale_bytes;
    }
  }
}

}  // namespace fledge::tensor::cpu
