#pragma once

#include <immintrin.h>
#include <string.h>

#include "tensor/cpu/quantized_functions.h"

// The product of a panel and a few rows of activations, written over a class V of vectors that each instruction set
// defines. Sums of a group are exact integers; they are then scaled and added in f32, group after group, with the same
// operations for every kind of panel and every number of rows. Everything has internal linkage.
//
// Where the machine has no instruction that adds four products of bytes in 32 bits (V::kShortSums), products are added
// in pairs in 16 bits as long as they surely fit, which depends on how large a kind's numbers are.
namespace fledge::tensor::cpu {
namespace {

// Sums stay in registers only where this is part of its caller.
#define FLEDGE_INLINE __attribute__((always_inline)) inline

constexpr int kWords = 8;
constexpr int kWordBytes = 64;
constexpr int64_t kPrefetchBytes = 6144;

/// Four activations as one number.
inline int32_t load_word(const int8_t* values) {
  int32_t word;
  memcpy(&word, values, sizeof word);
  return word;
}

/// Scales of a group for the lanes of one vector. `second`: of the other half, or the negative minimum.
template <class V>
struct GroupScales {
  typename V::Floats first, second;
};

/// What the kinds have in common.
struct Kind {
  static constexpr bool kHalves = false;      ///< two scales in a group
  static constexpr bool kMinimum = false;     ///< values have a minimum
  static constexpr bool kOffset = true;       ///< numbers are stored with an offset
  static constexpr int kBits = 4;             ///< of a number: 4, 6 or 8
  static constexpr bool kUnpacked = false;    ///< bytes and f32 scales that were made from one of the others
  static constexpr int64_t kHeaderBytes = 0;  ///< what stands before each block of 8 groups
};

template <class V>
struct Q8_0 : Kind {
  static constexpr int kBits = 8;
  static constexpr int64_t kWeightBytes = 512, kGroupBytes = 544;
  template <int j>
  static typename V::Ints word(const uint8_t* weights) {
    return V::load(weights + j * kWordBytes);
  }
  static GroupScales<V> scales(const GroupScales<V>&, const uint8_t* scales, int lane) {
    return {V::from_f16(scales + lane * 2), V::zero()};
  }
};

/// Two words in the nibbles of one.
template <class V>
struct Nibbles : Kind {
  static constexpr int64_t kWeightBytes = 256;
  template <int j>
  static typename V::Ints word(const uint8_t* weights) {
    const auto both = V::load(weights + j % 4 * kWordBytes);
    return j < 4 ? V::low_nibbles(both) : V::high_nibbles(both);
  }
};

template <class V>
struct Q4_0 : Nibbles<V> {
  static constexpr int64_t kGroupBytes = 288;
  static GroupScales<V> scales(const GroupScales<V>&, const uint8_t* scales, int lane) {
    return {V::from_f16(scales + lane * 2), V::zero()};
  }
};

template <class V>
struct Q4_1 : Nibbles<V> {
  static constexpr bool kMinimum = true, kOffset = false;
  static constexpr int64_t kGroupBytes = 320;
  static GroupScales<V> scales(const GroupScales<V>&, const uint8_t* scales, int lane) {
    return {V::from_f16(scales + lane * 2), V::from_f16(scales + 32 + lane * 2)};
  }
};

template <class V>
struct Q4_K : Nibbles<V> {
  static constexpr bool kMinimum = true, kOffset = false;
  static constexpr int64_t kGroupBytes = 288, kHeaderBytes = 64;
  static GroupScales<V> header(const uint8_t* bytes, int lane) {
    return {V::from_f16(bytes + lane * 2), V::negative(V::from_f16(bytes + 32 + lane * 2))};
  }
  static GroupScales<V> scales(const GroupScales<V>& block, const uint8_t* scales, int lane) {
    return {V::multiply(block.first, V::from_u8(scales + lane)),
            V::multiply(block.second, V::from_u8(scales + 16 + lane))};
  }
};

template <class V>
struct Q6_K : Kind {
  static constexpr bool kHalves = true;
  static constexpr int kBits = 6;
  static constexpr int64_t kWeightBytes = 384, kGroupBytes = 416, kHeaderBytes = 32;
  template <int j>
  static typename V::Ints word(const uint8_t* weights) {
    const auto bits = V::load(weights + 256 + j % 2 * kWordBytes);
    return V::template with_upper_bits<j / 2>(Nibbles<V>::template word<j>(weights), bits);
  }
  static GroupScales<V> header(const uint8_t* bytes, int lane) { return {V::from_f16(bytes + lane * 2), V::zero()}; }
  static GroupScales<V> scales(const GroupScales<V>& block, const uint8_t* scales, int lane) {
    return {V::multiply(block.first, V::from_i8(scales + lane)),
            V::multiply(block.first, V::from_i8(scales + 16 + lane))};
  }
};

/// Numbers as bytes and scales in f32. Two of the flags are known, the others are not needed.
template <class V, bool halves, bool minimum>
struct Wide : Kind {
  static constexpr bool kUnpacked = true, kHalves = halves, kMinimum = minimum, kOffset = !minimum,
                        kTwo = halves || minimum;
  static constexpr int64_t kWeightBytes = 512, kGroupBytes = kTwo ? 640 : 576;
  template <int j>
  static typename V::Ints word(const uint8_t* weights) {
    return V::load(weights + j * kWordBytes);
  }
  static GroupScales<V> scales(const GroupScales<V>&, const uint8_t* scales, int lane) {
    return {V::load_floats(scales + lane * 4), kTwo ? V::load_floats(scales + 64 + lane * 4) : V::zero()};
  }
};

/// Reads the header of the block of 8 groups that begins with this one, if one does, and steps over it.
template <class V, class Format>
FLEDGE_INLINE void pass_header(int64_t group, int lane, const uint8_t*& weights, GroupScales<V>& block) {
  if constexpr (Format::kHeaderBytes > 0) {
    if (group % kSuperGroups != 0) return;
    block = Format::header(weights, lane);
    weights += Format::kHeaderBytes;
  }
}

/// Asks for the numbers of a later group. Where memory answers late, the processor's own prefetcher, which stops at
/// every page of 4 KiB, keeps too few lines on their way. What was unpacked is in the L2 cache already.
template <class Format>
FLEDGE_INLINE void prefetch_group(const uint8_t* weights) {
  if constexpr (!Format::kUnpacked) {
#pragma GCC unroll 10
    for (int64_t line = 0; line < Format::kGroupBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(weights + kPrefetchBytes + line), _MM_HINT_T0);
    }
  }
}

/// Asks the L2 cache for a part of what another operation will read.
FLEDGE_INLINE void prefetch_ahead(const char* ahead, int64_t group) {
  constexpr int64_t kEach = 256;
  const char* part = ahead + group * kEach % kAheadBytes;
#pragma GCC unroll 4
  for (int64_t line = 0; line < kEach; line += 64) _mm_prefetch(part + line, _MM_HINT_T1);
}

/// Words [j, kEnd) times activations, pairs of products added in 16 bits. kHalf: the lower (0) or upper (1) half of
/// numbers of 8 bits alone.
template <class V, class Format, int kRows, int kHalf, int kFirst, int kEnd, int j = kFirst>
FLEDGE_INLINE void add_short_products(const uint8_t* weights, const int8_t* values, typename V::Ints (&sums)[kRows]) {
  if constexpr (j < kEnd) {
    auto word = Format::template word<j>(weights);
    if constexpr (Format::kBits == 8) word = kHalf == 0 ? V::low_nibbles(word) : V::high_nibbles(word);
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      const auto products = V::multiply_pairs(word, load_word(values + row * kGroup + j * 4));
      sums[row] = j == kFirst ? products : V::add_shorts(sums[row], products);
    }
    add_short_products<V, Format, kRows, kHalf, kFirst, kEnd, j + 1>(weights, values, sums);
  }
}

/// How many words' products of numbers of so many bits with activations up to 127 fit into 16 bits.
constexpr int short_words(int bits) {
  return bits == 6 ? 2 : kWords;
}

template <class V, class Format, int kRows, int kChains, int kHalf, int j = 0>
FLEDGE_INLINE void add_short_runs(const uint8_t* weights, const int8_t* values,
                                  typename V::Ints (&dots)[kRows][kChains]) {
  if constexpr (j < kWords) {
    constexpr int kEnd = j + short_words(Format::kBits);
    static_assert(((Format::kBits == 6 ? 63 : 15) * 2 * 127) * short_words(Format::kBits) <= INT16_MAX);
    typename V::Ints sums[kRows];
    add_short_products<V, Format, kRows, kHalf, j, kEnd>(weights, values, sums);
    constexpr int kChain = kChains == 1 ? 0 : j / (kWords / kChains);
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      dots[row][kChain] = V::template add_pairs < kHalf == 0 ? 1 : 16 > (dots[row][kChain], sums[row]);
    }
    add_short_runs<V, Format, kRows, kChains, kHalf, kEnd>(weights, values, dots);
  }
}

/// The sums of one group for kRows rows. With scales per half, `dots` has the halves apart; otherwise the second half
/// is a chain of its own where there are too few rows to hide the latency of an instruction.
template <class V, class Format, int kRows, int kChains, int j = 0>
FLEDGE_INLINE void add_words(const uint8_t* weights, const int8_t* values, typename V::Ints (&dots)[kRows][kChains]) {
  if constexpr (V::kShortSums) {
    add_short_runs<V, Format, kRows, kChains, 0>(weights, values, dots);
    if constexpr (Format::kBits == 8) {
      asm volatile("" : : : "memory");  // activations are read again: there are no registers to keep them in
      add_short_runs<V, Format, kRows, kChains, 1>(weights, values, dots);
    }
  } else if constexpr (j < kWords) {
    constexpr int kChain = kChains == 1 ? 0 : j / (kWords / kChains);
    const auto word = Format::template word<j>(weights);
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      dots[row][kChain] = V::dot(dots[row][kChain], word, load_word(values + row * kGroup + j * 4));
    }
    add_words<V, Format, kRows, kChains, j + 1>(weights, values, dots);
  }
}

/// Lanes [lane, lane + V::kLanes) of a panel.
template <class V, class Format, int kRows>
inline void multiply_lanes(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int lane,
                           float* sums, int64_t sums_stride) {
  constexpr int kChains = Format::kHalves || (kRows <= 2 && !V::kShortSums) ? 2 : 1;
  constexpr int kStarts = Format::kHalves ? 2 : 1;
  const uint8_t* weights = panel;
  GroupScales<V> block{V::zero(), V::zero()};
  typename V::Floats totals[kRows];
#pragma GCC unroll 12
  for (int row = 0; row < kRows; ++row) totals[row] = V::zero();
  for (int64_t group = 0; group < groups; ++group, weights += Format::kGroupBytes) {
    pass_header<V, Format>(group, lane, weights, block);
    if (lane == 0) {
      prefetch_group<Format>(weights);
      if (activations.ahead != nullptr) prefetch_ahead(activations.ahead, group);
    }
    typename V::Ints dots[kRows][kChains];
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      dots[row][0] = Format::kOffset ? V::broadcast(activations.starts[group * kStarts * kRows + row]) : V::zero_ints();
      if constexpr (Format::kHalves) {
        dots[row][1] = V::broadcast(activations.starts[(group * kStarts + 1) * kRows + row]);
      } else if constexpr (kChains == 2) {
        dots[row][1] = V::zero_ints();
      }
    }
    add_words<V, Format, kRows, kChains>(weights + lane * 4, activations.values + group * kRows * kGroup, dots);
    const GroupScales<V> scales = Format::scales(block, weights + Format::kWeightBytes, lane);
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      const auto scale = V::broadcast(activations.scales[group * kRows + row]);
      if constexpr (Format::kHalves) {
        totals[row] = V::multiply_add(V::to_floats(dots[row][0]), V::multiply(scales.first, scale), totals[row]);
        totals[row] = V::multiply_add(V::to_floats(dots[row][1]), V::multiply(scales.second, scale), totals[row]);
      } else {
        auto dot = dots[row][0];
        if constexpr (kChains == 2) dot = V::add(dot, dots[row][1]);
        totals[row] = V::multiply_add(V::to_floats(dot), V::multiply(scales.first, scale), totals[row]);
      }
      if constexpr (Format::kMinimum) {
        const auto sum = V::broadcast(activations.sums[group * kRows + row]);
        totals[row] = V::multiply_add(scales.second, sum, totals[row]);
      }
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < kRows; ++row) V::store(sums + row * sums_stride + lane, totals[row]);
}

template <class V, class Format, int kRows>
void multiply_panel(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, float* sums,
                    int64_t sums_stride) {
  for (int lane = 0; lane < kPanelRows; lane += V::kLanes) {
    multiply_lanes<V, Format, kRows>(panel, groups, activations, lane, sums, sums_stride);
  }
}

/// A chunk has 1, 2 or 4 rows, or 8 or 12 where there are registers for it.
template <class V, class Format>
void multiply_rows(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int64_t rows, float* sums,
                   int64_t sums_stride) {
  if constexpr (V::kMaximumRows >= 12) {
    if (rows == 12) return multiply_panel<V, Format, 12>(panel, groups, activations, sums, sums_stride);
    if (rows == 8) return multiply_panel<V, Format, 8>(panel, groups, activations, sums, sums_stride);
  }
  if (rows == 4) return multiply_panel<V, Format, 4>(panel, groups, activations, sums, sums_stride);
  if (rows == 2) return multiply_panel<V, Format, 2>(panel, groups, activations, sums, sums_stride);
  multiply_panel<V, Format, 1>(panel, groups, activations, sums, sums_stride);
}

template <class V>
void multiply_wide(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int64_t rows,
                   float* sums, int64_t sums_stride) {
  if (kind == PanelKind::wide) {
    multiply_rows<V, Wide<V, false, false>>(panel, groups, activations, rows, sums, sums_stride);
  } else if (kind == PanelKind::wide_minimum) {
    multiply_rows<V, Wide<V, false, true>>(panel, groups, activations, rows, sums, sums_stride);
  } else {
    multiply_rows<V, Wide<V, true, false>>(panel, groups, activations, rows, sums, sums_stride);
  }
}

template <class V>
void multiply_kind(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int64_t rows,
                   float* sums, int64_t sums_stride) {
  switch (kind) {
    case PanelKind::q8_0:
      return multiply_rows<V, Q8_0<V>>(panel, groups, activations, rows, sums, sums_stride);
    case PanelKind::q4_0:
      return multiply_rows<V, Q4_0<V>>(panel, groups, activations, rows, sums, sums_stride);
    case PanelKind::q4_1:
      return multiply_rows<V, Q4_1<V>>(panel, groups, activations, rows, sums, sums_stride);
    case PanelKind::q4_k:
      return multiply_rows<V, Q4_K<V>>(panel, groups, activations, rows, sums, sums_stride);
    case PanelKind::q6_k:
      return multiply_rows<V, Q6_K<V>>(panel, groups, activations, rows, sums, sums_stride);
    case PanelKind::wide:
    case PanelKind::wide_minimum:
    case PanelKind::wide_halves:
      break;
  }
  // Short sums know how large a kind's numbers are; of wide ones that is not known.
  if constexpr (!V::kShortSums) multiply_wide<V>(kind, panel, groups, activations, rows, sums, sums_stride);
}

template <class V, class Format, int j>
FLEDGE_INLINE void store_words(const uint8_t* weights, uint8_t* wide) {
  if constexpr (j < kWords) {
    V::store_ints(wide + j * kWordBytes, Format::template word<j>(weights));
    store_words<V, Format, j + 1>(weights, wide);
  }
}

template <class V, class Format>
void unpack_panel(const uint8_t* panel, int64_t groups, uint8_t* wide) {
  using Target = Wide<V, Format::kHalves, Format::kMinimum>;
  for (int lane = 0; lane < kPanelRows; lane += V::kLanes) {
    const uint8_t* weights = panel;
    uint8_t* target = wide;
    GroupScales<V> block{V::zero(), V::zero()};
    for (int64_t group = 0; group < groups; ++group, weights += Format::kGroupBytes, target += Target::kGroupBytes) {
      pass_header<V, Format>(group, lane, weights, block);
      if (lane == 0) prefetch_group<Format>(weights);
      store_words<V, Format, 0>(weights + lane * 4, target + lane * 4);
      const GroupScales<V> scales = Format::scales(block, weights + Format::kWeightBytes, lane);
      V::store_floats(target + Target::kWeightBytes + lane * 4, scales.first);
      if constexpr (Target::kTwo) V::store_floats(target + Target::kWeightBytes + 64 + lane * 4, scales.second);
    }
  }
}

template <class V>
void unpack_kind(PanelKind kind, const uint8_t* panel, int64_t groups, uint8_t* wide) {
  if (kind == PanelKind::q8_0) unpack_panel<V, Q8_0<V>>(panel, groups, wide);
  if (kind == PanelKind::q4_0) unpack_panel<V, Q4_0<V>>(panel, groups, wide);
  if (kind == PanelKind::q4_1) unpack_panel<V, Q4_1<V>>(panel, groups, wide);
  if (kind == PanelKind::q4_k) unpack_panel<V, Q4_K<V>>(panel, groups, wide);
  if (kind == PanelKind::q6_k) unpack_panel<V, Q6_K<V>>(panel, groups, wide);
}

#undef FLEDGE_INLINE

}  // namespace
}  // namespace fledge::tensor::cpu
