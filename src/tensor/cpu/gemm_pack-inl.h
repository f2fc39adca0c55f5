#pragma once

#include <stdint.h>
#include <string.h>

#include "tensor/cpu/gemm_functions.h"

// Packing in plain C++, for every source layout and instruction set. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

inline float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// The bf16 nearest to a value, ties to even; a NaN stays a NaN.
inline uint16_t round_to_bf16(float value) {
  const uint32_t word = float_to_bits(value);
  const uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const uint32_t quiet = (word >> 16) | 0x40u;
  return static_cast<uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

struct F32Source {
  static float value(const float* element) { return *element; }
  static float rounded(const float* element) { return bits_to_float(uint32_t{round_to_bf16(*element)} << 16); }
  static uint16_t bf16(const float* element) { return round_to_bf16(*element); }
};

struct Bf16Source {
  static float value(const uint16_t* element) { return bits_to_float(uint32_t{*element} << 16); }
  static float rounded(const uint16_t* element) { return value(element); }
  static uint16_t bf16(const uint16_t* element) { return *element; }
};

template <class Source, bool kRounded, int kLanes, typename Element>
void pack_floats(const PanelSource& source, int64_t depth_unit, const Element* data, float* panel) {
  for (int64_t k = 0; k < source.depth; ++k, panel += kLanes) {
    const Element* element = data + k * source.depth_stride;
    for (int64_t lane = 0; lane < source.lanes; ++lane, element += source.lane_stride) {
      panel[lane] = kRounded ? Source::rounded(element) : Source::value(element);
    }
    for (int64_t lane = source.lanes; lane < kLanes; ++lane) panel[lane] = 0;
  }
  const int64_t padded = (source.depth + depth_unit - 1) / depth_unit * depth_unit;
  memset(panel, 0, static_cast<size_t>((padded - source.depth) * kLanes) * sizeof *panel);
}

/// panel[padded K][kLanes] of f32: the values, or what bf16 rounding makes of them.
template <bool kRounded, int kLanes>
void pack_portable(const PanelSource& source, int64_t depth_unit, void* panel) {
  if (source.is_bf16) {
    pack_floats<Bf16Source, kRounded, kLanes>(source, depth_unit, static_cast<const uint16_t*>(source.data),
                                              static_cast<float*>(panel));
  } else {
    pack_floats<F32Source, kRounded, kLanes>(source, depth_unit, static_cast<const float*>(source.data),
                                             static_cast<float*>(panel));
  }
}

template <class Source, int kLanes, typename Element>
void pack_pairs(const PanelSource& source, int64_t depth_unit, const Element* data, uint16_t* panel) {
  const int64_t padded = (source.depth + depth_unit - 1) / depth_unit * depth_unit;
  for (int64_t k = 0; k < padded; ++k) {
    uint16_t* row = panel + (k / 2) * (2 * kLanes) + k % 2;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const bool inside = k < source.depth && lane < source.lanes;
      row[2 * lane] = inside ? Source::bf16(data + k * source.depth_stride + lane * source.lane_stride) : uint16_t{0};
    }
  }
}

/// panel[padded K / 2][kLanes][2] of bf16: neighbours in depth stand together, as VDPBF16PS and TDPBF16PS want them.
template <int kLanes>
void pack_pairs_portable(const PanelSource& source, int64_t depth_unit, void* panel) {
  if (source.is_bf16) {
    pack_pairs<Bf16Source, kLanes>(source, depth_unit, static_cast<const uint16_t*>(source.data),
                                   static_cast<uint16_t*>(panel));
  } else {
    pack_pairs<F32Source, kLanes>(source, depth_unit, static_cast<const float*>(source.data),
                                  static_cast<uint16_t*>(panel));
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu
