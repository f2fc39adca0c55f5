#pragma once

#include <stdint.h>

// Plain declarations of what the files compiled for one instruction set offer to micro_kernel.cpp. Those files must not
// see inline functions that other files use too: the linker could keep the copy that only some machines can run.
namespace fledge::tensor::cpu {

/// One panel's source: `lanes` rows of A (or columns of B) by `depth`, f32 or bf16, strides in elements.
struct PanelSource {
  const void* data;
  bool is_bf16;
  int64_t lanes, depth;
  int64_t lane_stride, depth_stride;
};

using PackFunction = void(const PanelSource& source, void* panel);
using MultiplyFunction = void(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                              int64_t used_rows, int64_t used_columns, bool accumulate);
/// Stores sums rounded to bf16.
using StoreFunction = void(const float* sums, int64_t sums_stride, int64_t rows, int64_t columns, void* out,
                           int64_t out_stride);

/// A bf16 value of a narrow panel whose exponent 4 bits cannot say: its place among the panel's elements, and its bits.
struct NarrowException {
  uint32_t element;
  uint32_t value;
};

/// A narrow panel is made of units of two pairs of depth by 32 columns, 64 values each: 64 bytes of distances (the
/// first pair's in the lower halves), then a byte of sign and fraction for each value.
constexpr int kNarrowPairElements = 64, kNarrowUnitBytes = 192, kNarrowBaseBytes = 64;

/// Finds the largest exponent of each of the 32 columns of a panel of bf16 pairs, as `bases` wants it.
using FindBasesFunction = void(const void* panel, int64_t pairs, uint8_t* bases);
/// Makes a panel narrow. Returns how many exceptions there are, in ascending order, or -1 where they are more than
/// `most`.
using NarrowFunction = int64_t(const void* panel, int64_t pairs, const uint8_t* bases, void* narrow,
                               NarrowException* exceptions, int64_t most);
/// A narrow panel from one of its units on.
struct NarrowSource {
  const uint8_t* bases;
  const uint8_t* units;
  const NarrowException *exceptions, *end;  ///< of what follows `first_element`, and maybe more behind what is used
  uint32_t first_element;                   ///< that the first unit begins with
};

/// The reverse: pack_b()'s panel.
using WidenFunction = void(const NarrowSource& narrow, int64_t pairs, void* panel);
/// multiply_few() with a narrow panel; the sums are the same.
using MultiplyNarrowFunction = void(int64_t depth, const void* a_panel, const NarrowSource& b, float* c,
                                    int64_t c_stride, int64_t used_rows, int64_t used_columns, bool accumulate);

// Names: INSTRUCTION-SET_KIND_ROLE. Kinds: f32 (as they are), rounded (bf16 values widened to f32), bf16 (pairs; with
// AVX2 those of A widened).
namespace baseline {
constexpr int kRows = 6, kColumns = 8;
PackFunction pack_a_f32, pack_b_f32, pack_a_rounded, pack_b_rounded;
MultiplyFunction multiply_f32;
}  // namespace baseline

namespace avx2 {
constexpr int kRows = 6, kColumns = 16, kFewRows = 6, kPairRows = 3, kPairColumns = 32;
PackFunction pack_a_f32, pack_b_f32, pack_few_f32, pack_a_rounded, pack_b_rounded, pack_few_rounded;
PackFunction pack_a_bf16, pack_b_bf16, pack_few_bf16;
MultiplyFunction multiply_f32, multiply_few_f32, multiply_bf16, multiply_few_bf16;
FindBasesFunction find_bases;
NarrowFunction narrow;
WidenFunction widen;
MultiplyNarrowFunction multiply_narrow;
}  // namespace avx2

namespace avx512 {
constexpr int kRows = 14, kColumns = 32, kFewRows = 8;
PackFunction pack_a_f32, pack_b_f32, pack_a_rounded, pack_b_rounded, pack_few_f32, pack_few_rounded;
MultiplyFunction multiply_f32, multiply_few_f32;
}  // namespace avx512

namespace avx512_bf16 {
constexpr int kRows = 14, kColumns = 32, kFewRows = 8;
PackFunction pack_a, pack_b, pack_few;
MultiplyFunction multiply, multiply_few;
FindBasesFunction find_bases;
NarrowFunction narrow;
WidenFunction widen;
MultiplyNarrowFunction multiply_narrow;
}  // namespace avx512_bf16

/// The emulated functions do without AMX what the others do, for tests; they need AVX512_BF16.
namespace amx {
constexpr int kRows = 32, kColumns = 32;
PackFunction pack_a, pack_b;
MultiplyFunction multiply, multiply_emulated;
StoreFunction store_bf16;
void release();
}  // namespace amx

}  // namespace fledge::tensor::cpu
