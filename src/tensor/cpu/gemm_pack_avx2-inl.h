#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "tensor/cpu/gemm_pack_words-inl.h"

// Packing with AVX2. A panel is made of 32-bit words, one f32 or two bf16 that are neighbours in depth. The words of a
// source that is contiguous in depth are turned by transposing blocks of 8 x 8. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

constexpr int kBlock = 8;

inline __m256i first_of_8(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// The bf16 nearest to each f32, in the upper half of its word; the lower half is 0.
inline __m256i round_words(__m256 values) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  return _mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, nan), _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
}

/// The first `count` of eight neighbours in memory, the others 0.
inline __m256 load_elements(const float* from, int64_t count) {
  if (count >= kBlock) return _mm256_loadu_ps(from);
  return count <= 0 ? _mm256_setzero_ps() : _mm256_maskload_ps(from, first_of_8(count));
}

inline __m128i load_elements(const uint16_t* from, int64_t count) {
  __m128i halves = _mm_setzero_si128();
  if (count >= kBlock) {
    halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  } else if (count > 0) {
    memcpy(&halves, from, static_cast<size_t>(count) * sizeof *from);
  }
  return halves;
}

/// Words of one value: as it is, or as bf16 in the upper half.
template <Words kWords>
__m256i to_words(__m256 values) {
  return kWords == Words::f32 ? _mm256_castps_si256(values) : round_words(values);
}

template <Words kWords>
__m256i to_words(__m128i halves) {
  return _mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16);
}

/// Eight words of one lane: `count` elements from `from` on, neighbours in memory.
template <Words kWords, typename Element>
__m256i words_along_depth(const Element* from, int64_t count) {
  if constexpr (kWords != Words::pairs) {
    return to_words<kWords>(load_elements(from, count));
  } else if constexpr (sizeof(Element) == 2) {
    return _mm256_set_m128i(load_elements(from + kBlock, count - kBlock), load_elements(from, count));
  } else {
    const __m256 first = load_elements(from, count), second = load_elements(from + kBlock, count - kBlock);
    const __m256i even = round_words(_mm256_shuffle_ps(first, second, 0x88));
    const __m256i odd = round_words(_mm256_shuffle_ps(first, second, 0xdd));
    return _mm256_permute4x64_epi64(_mm256_or_si256(_mm256_srli_epi32(even, 16), odd), 0xd8);
  }
}

/// One word of each of eight lanes that are neighbours in memory; `count` elements of depth are left.
template <Words kWords, typename Element>
__m256i words_across_lanes(const Element* from, int64_t depth_stride, int64_t lanes, int64_t count) {
  const __m256i first = to_words<kWords>(load_elements(from, count > 0 ? lanes : 0));
  if constexpr (kWords != Words::pairs) return first;
  const __m256i second = to_words<kWords>(load_elements(from + depth_stride, count > 1 ? lanes : 0));
  return _mm256_or_si256(_mm256_srli_epi32(first, 16), second);
}

/// Turns 8 x 8 words: neighbours, pairs, halves.
inline void transpose(__m256i (&rows)[kBlock]) {
  __m256i step[kBlock];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    step[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    step[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    rows[i] = _mm256_unpacklo_epi64(step[i], step[i + 2]);
    rows[i + 1] = _mm256_unpackhi_epi64(step[i], step[i + 2]);
    rows[i + 2] = _mm256_unpacklo_epi64(step[i + 1], step[i + 3]);
    rows[i + 3] = _mm256_unpackhi_epi64(step[i + 1], step[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    step[i] = _mm256_permute2x128_si256(rows[i], rows[i + 4], 0x20);
    step[i + 4] = _mm256_permute2x128_si256(rows[i], rows[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) rows[i] = step[i];
}

/// Stores the first kCount words; masked stores are slow on AMD's processors.
template <int kCount>
void store_words(uint32_t* to, __m256i words) {
  const __m128i low = _mm256_castsi256_si128(words);
  if constexpr (kCount >= 8) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
  } else if constexpr (kCount >= 4) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), low);
    const __m128i high = _mm256_extracti128_si256(words, 1);
    if constexpr (kCount >= 6) _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 4), high);
    if constexpr (kCount == 7) to[6] = static_cast<uint32_t>(_mm_extract_epi32(high, 2));
    if constexpr (kCount == 5) to[4] = static_cast<uint32_t>(_mm_cvtsi128_si32(high));
  } else {
    if constexpr (kCount >= 2) _mm_storel_epi64(reinterpret_cast<__m128i*>(to), low);
    if constexpr (kCount == 3) to[2] = static_cast<uint32_t>(_mm_extract_epi32(low, 2));
    if constexpr (kCount == 1) to[0] = static_cast<uint32_t>(_mm_cvtsi128_si32(low));
  }
}

/// A source that is contiguous in depth: lanes from kLane on, eight at a time, eight words deep.
template <Words kWords, int kLanes, int kLane, typename Element>
void pack_along_depth(const PanelSource& source, int64_t words, const Element* data, uint32_t* panel) {
  if constexpr (kLane < kLanes) {
    constexpr int kWidth = kLanes - kLane < kBlock ? kLanes - kLane : kBlock;
    for (int64_t word = 0; word < words; word += kBlock) {
      const int64_t k = word * kElementsPerWord<kWords>;
      __m256i rows[kBlock];
#pragma GCC unroll 8
      for (int i = 0; i < kBlock; ++i) {
        rows[i] = _mm256_setzero_si256();
        if (i < kWidth && kLane + i < source.lanes) {
          rows[i] = words_along_depth<kWords>(data + (kLane + i) * source.lane_stride + k, source.depth - k);
        }
      }
      transpose(rows);
      uint32_t* target = panel + word * kLanes + kLane;
#pragma GCC unroll 8
      for (int i = 0; i < kBlock; ++i) {
        if (word + i < words) store_words<kWidth>(target + i * kLanes, rows[i]);
      }
    }
    pack_along_depth<kWords, kLanes, kLane + kBlock>(source, words, data, panel);
  }
}

/// One word of every lane from kLane on, of a source whose lanes are neighbours.
template <Words kWords, int kLanes, int kLane, typename Element>
void pack_row_of_lanes(const PanelSource& source, const Element* from, int64_t count, uint32_t* panel) {
  if constexpr (kLane < kLanes) {
    constexpr int kWidth = kLanes - kLane < kBlock ? kLanes - kLane : kBlock;
    const int64_t lanes = source.lanes - kLane;
    store_words<kWidth>(panel + kLane, words_across_lanes<kWords>(from + kLane, source.depth_stride, lanes, count));
    pack_row_of_lanes<kWords, kLanes, kLane + kBlock>(source, from, count, panel);
  }
}

template <Words kWords, int kLanes, typename Element>
void pack_across_lanes(const PanelSource& source, int64_t words, const Element* data, uint32_t* panel) {
  for (int64_t word = 0; word < words; ++word, panel += kLanes) {
    const int64_t k = word * kElementsPerWord<kWords>;
    pack_row_of_lanes<kWords, kLanes, 0>(source, data + k * source.depth_stride, source.depth - k, panel);
  }
}

/// The words of a single lane.
template <Words kWords, typename Element>
void pack_lane(const PanelSource& source, int64_t words, const Element* data, uint32_t* panel) {
  for (int64_t word = 0; word < words; word += kBlock) {
    const int64_t k = word * kElementsPerWord<kWords>;
    alignas(32) uint32_t block[kBlock];
    store_words<kBlock>(block, words_along_depth<kWords>(data + k, source.depth - k));
    memcpy(panel + word, block, static_cast<size_t>(words - word < kBlock ? words - word : kBlock) * sizeof *block);
  }
}

template <Words kWords, int kLanes, typename Element>
void pack_elements(const PanelSource& source, int64_t depth_unit, const Element* data, uint32_t* panel) {
  const int64_t words = panel_words<kWords>(source, depth_unit);
  if (kLanes == 1 && source.depth_stride == 1) {
    pack_lane<kWords>(source, words, data, panel);
  } else if (source.lane_stride == 1) {
    pack_across_lanes<kWords, kLanes>(source, words, data, panel);
  } else if (source.depth_stride == 1) {
    pack_along_depth<kWords, kLanes, 0>(source, words, data, panel);
  } else {
    pack_scattered<kWords, kLanes>(source, depth_unit, panel);
  }
}

/// panel[padded K / elements per word][kLanes] of words.
template <Words kWords, int kLanes>
void pack_words(const PanelSource& source, int64_t depth_unit, void* panel) {
  auto* words = static_cast<uint32_t*>(panel);
  if (source.is_bf16) {
    pack_elements<kWords, kLanes>(source, depth_unit, static_cast<const uint16_t*>(source.data), words);
  } else {
    pack_elements<kWords, kLanes>(source, depth_unit, static_cast<const float*>(source.data), words);
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu
