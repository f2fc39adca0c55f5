#pragma once

// g++ 12's own intrinsics start undefined values from themselves and then warn about it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#include <stdint.h>

#include "tensor/cpu/gemm_pack_words-inl.h"

// Packing with AVX-512. A panel is made of 32-bit words, one f32 or two bf16 that are neighbours in depth. The words of
// a source that is contiguous in depth are turned by transposing blocks of 16 x 16. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

constexpr int kBlock = 16;

inline __mmask16 first_of_16(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1);
}

inline __mmask32 first_of_32(int64_t count) {
  return static_cast<__mmask32>(count >= 32 ? 0xffffffffu : count <= 0 ? 0u : (1u << count) - 1);
}

/// The bf16 nearest to each f32, in the upper half of its word.
inline __m512i round_words(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  return _mm512_and_si512(_mm512_mask_mov_epi32(rounded, nan, quiet), _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
}

inline __m256i to_bf16(__m512 values) {
#ifdef __AVX512BF16__
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values));
#else
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_words(values), 16));
#endif
}

inline __m512i widen(__m256i halves) {
  return _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

/// Sixteen elements that stand together, the first `mask` of them; the others are 0.
inline __m512 load_elements(const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}

inline __m256i load_elements(const uint16_t* from, __mmask16 mask) {
  return _mm256_maskz_loadu_epi16(mask, from);
}

template <Words kWords>
__m512i to_words(__m512 values) {
  return kWords == Words::rounded ? round_words(values) : _mm512_castps_si512(values);
}

template <Words kWords>
__m512i to_words(__m256i halves) {
  return widen(halves);
}

inline __m256i halves_of(__m512 values) {
  return to_bf16(values);
}

inline __m256i halves_of(__m256i halves) {
  return halves;
}

/// Sixteen words of one lane: `count` elements from `from` on, neighbours in memory.
template <Words kWords, typename Element>
__m512i words_along_depth(const Element* from, int64_t count) {
  if constexpr (kWords != Words::pairs) {
    return to_words<kWords>(load_elements(from, first_of_16(count)));
  } else if constexpr (sizeof(Element) == 2) {
    return _mm512_maskz_loadu_epi16(first_of_32(count), from);
  } else {
    const __m256i low = halves_of(load_elements(from, first_of_16(count)));
    const __m256i high = halves_of(load_elements(from + kBlock, first_of_16(count - kBlock)));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
}

/// One word of each of sixteen lanes that are neighbours in memory; `count` elements of depth are left.
template <Words kWords, typename Element>
__m512i words_across_lanes(const Element* from, int64_t depth_stride, __mmask16 lanes, int64_t count) {
  const __mmask16 first = count > 0 ? lanes : __mmask16{0};
  if constexpr (kWords != Words::pairs) {
    return to_words<kWords>(load_elements(from, first));
  } else {
    const __mmask16 second = count > 1 ? lanes : __mmask16{0};
    const __m512i low = _mm512_cvtepu16_epi32(halves_of(load_elements(from, first)));
    const __m512i high = widen(halves_of(load_elements(from + depth_stride, second)));
    return _mm512_or_si512(low, high);
  }
}

/// Turns 16 x 16 words: pairs of rows, of pairs, of quarters, of halves.
inline void transpose(__m512i (&rows)[kBlock]) {
  __m512i step[kBlock];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    step[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    step[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(step[i], step[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(step[i], step[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(step[i + 1], step[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(step[i + 1], step[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    step[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    step[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    step[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    step[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    rows[i] = _mm512_shuffle_i32x4(step[i], step[i + 8], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(step[i], step[i + 8], 0xdd);
  }
}

/// Sixteen words of each of the sixteen lanes from `lane` on, one vector for each lane.
template <Words kWords, typename Element>
void load_block(const PanelSource& source, const Element* data, int64_t lane, int64_t k, __m512i (&rows)[kBlock]) {
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; ++i) {
    rows[i] = _mm512_setzero_si512();
    if (lane + i < source.lanes) {
      rows[i] = words_along_depth<kWords>(data + (lane + i) * source.lane_stride + k, source.depth - k);
    }
  }
}

/// The words of a single row.
template <Words kWords, typename Element>
void pack_row(const PanelSource& source, int64_t words, const Element* data, uint32_t* panel) {
  constexpr int kStep = kElementsPerWord<kWords>;
  for (int64_t word = 0; word < words; word += kBlock) {
    const __m512i row = words_along_depth<kWords>(data + word * kStep, source.depth - word * kStep);
    _mm512_mask_storeu_epi32(panel + word, first_of_16(words - word), row);
  }
}

template <Words kWords, int kLanes, typename Element>
void pack_along_depth(const PanelSource& source, int64_t words, const Element* data, uint32_t* panel) {
  for (int64_t word = 0; word < words; word += kBlock) {
    const int64_t block_words = words - word < kBlock ? words - word : kBlock;
    for (int lane = 0; lane < kLanes; lane += kBlock) {
      __m512i rows[kBlock];
      load_block<kWords>(source, data, lane, word * kElementsPerWord<kWords>, rows);
      transpose(rows);
      uint32_t* target = panel + word * kLanes + lane;
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) {
        if (i < block_words) _mm512_mask_storeu_epi32(target + i * kLanes, first_of_16(kLanes - lane), rows[i]);
      }
    }
  }
}

template <Words kWords, int kLanes, typename Element>
void pack_across_lanes(const PanelSource& source, int64_t words, const Element* data, uint32_t* panel) {
  constexpr int kStep = kElementsPerWord<kWords>;
  for (int64_t word = 0; word < words; ++word, panel += kLanes) {
    const Element* from = data + word * kStep * source.depth_stride;
#pragma GCC unroll 2
    for (int lane = 0; lane < kLanes; lane += kBlock) {
      const __m512i row = words_across_lanes<kWords>(from + lane, source.depth_stride, first_of_16(source.lanes - lane),
                                                     source.depth - word * kStep);
      _mm512_mask_storeu_epi32(panel + lane, first_of_16(kLanes - lane), row);
    }
  }
}

/// panel[padded K / elements per word][kLanes] of words. False where the source is contiguous in neither direction.
template <Words kWords, int kLanes, typename Element>
bool pack_contiguous(const PanelSource& source, int64_t depth_unit, const Element* data, void* panel) {
  const int64_t words = panel_words<kWords>(source, depth_unit);
  if (kLanes == 1 && source.depth_stride == 1) {
    pack_row<kWords>(source, words, data, static_cast<uint32_t*>(panel));
  } else if (source.lane_stride == 1) {
    pack_across_lanes<kWords, kLanes>(source, words, data, static_cast<uint32_t*>(panel));
  } else if (source.depth_stride == 1) {
    pack_along_depth<kWords, kLanes>(source, words, data, static_cast<uint32_t*>(panel));
  } else {
    return false;
  }
  return true;
}

template <Words kWords, int kLanes>
void pack_words(const PanelSource& source, int64_t depth_unit, void* panel) {
  const bool done =
      source.is_bf16
          ? pack_contiguous<kWords, kLanes>(source, depth_unit, static_cast<const uint16_t*>(source.data), panel)
          : pack_contiguous<kWords, kLanes>(source, depth_unit, static_cast<const float*>(source.data), panel);
  if (!done) pack_scattered<kWords, kLanes>(source, depth_unit, panel);
}

}  // namespace
}  // namespace fledge::tensor::cpu
