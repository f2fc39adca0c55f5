#pragma once

#include <stdint.h>

// Plain declarations of what the files compiled for one instruction set offer to quantized_kernel.cpp (see
// gemm_functions.h on why they are plain), and the layout that all of them read.
//
// A weight is cut into panels of 16 outputs and a panel's depth into groups of 32. The numbers of a group stand as
// words of four: word j holds elements 4j to 4j + 3 of output 0, then of output 1, and so on: 64 bytes, what one VNNI
// instruction multiplies with four activations that are the same for all outputs. A group's scales follow its numbers,
// and panels follow each other without gaps: a product reads its weight from the first byte to the last, which alone
// lets the processor fetch ahead (two streams, or gaps, halve the bandwidth on Zen 4).
//
// | kind | header of 8 groups | numbers of a group | scales of a group |
// |---|---|---|---|
// | q8_0 | | 8 words, number + 128 | d (f16 [16]) |
// | q4_0 | | 4 words, word j in the low nibbles and word j + 4 in the high ones | d (f16 [16]) |
// | q4_1 | | the same | d, m (f16 [16]) |
// | q4_k | d, dmin (f16 [16]) | the same | s, m (u8 [16]) |
// | q6_k | d (f16 [16]) | the same, and 2 words of pairs of bits: word j in bits 2(j / 2) of word j % 2 | s of each
// half (i8 [16]) | | wide | | 8 words | scale (f32 [16]) | | wide_minimum | | 8 words | scale, negative minimum (f32
// [16]) | | wide_halves | | 8 words | scale of each half (f32 [16]) |
namespace fledge::tensor::cpu {

constexpr int kPanelRows = 16;     ///< outputs of a panel
constexpr int kGroup = 32;         ///< elements of depth that share a scale in most types
constexpr int kAheadBytes = 4096;  ///< of what a product asks memory for on behalf of another operation
constexpr int kSuperGroups = 8;    ///< groups of a block of 256

enum class PanelKind : uint8_t { q8_0, q4_0, q4_1, q4_k, q6_k, wide, wide_minimum, wide_halves };

/// A chunk of activations in int8. The rows of a group stand together: element (group, row, i) of `values` is at
/// (group * rows + row) * 32 + i, element (group, row) of the others at group * rows + row.
struct QuantizedRows {
  const int8_t* values;
  const float* scales;    ///< [groups][rows]
  const int32_t* starts;  ///< what a sum starts with, for numbers stored with an offset: -offset * sum of values. With
                          ///< scales per half group [groups][2][rows]. Null where there is no offset
  const float* sums;      ///< scale * sum of values, where there are minimums; otherwise null
  const char* ahead = nullptr;  ///< kAheadBytes that another operation will read; or null
};

/// sums[row][0, 16) for `rows` (a size of chunk that the kernel knows) and one panel of `groups` groups.
using QuantizedMultiply = void(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations,
                               int64_t rows, float* sums, int64_t sums_stride);
/// The wide form of a panel.
using QuantizedUnpack = void(PanelKind kind, const uint8_t* panel, int64_t groups, uint8_t* wide);

namespace baseline {
QuantizedMultiply multiply_quantized;
}  // namespace baseline

namespace avx2 {
QuantizedMultiply multiply_quantized;
}  // namespace avx2

namespace avx512_vnni {
QuantizedMultiply multiply_quantized;
QuantizedUnpack unpack_quantized;
}  // namespace avx512_vnni

/// Chunks of 16 and 32 rows, wide panels alone; the emulated function does without AMX what the other does, for tests,
/// and needs AVX-512.
namespace amx {
QuantizedMultiply multiply_quantized, multiply_quantized_emulated;
void release_quantized();
}  // namespace amx

}  // namespace fledge::tensor::cpu
