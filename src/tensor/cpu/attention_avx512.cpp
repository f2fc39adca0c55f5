// GCC 12 takes the operand that an intrinsic leaves undefined on purpose for a mistake (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "tensor/cpu/attention_words.h"

namespace fledge::tensor::cpu {
namespace {

/// Transposes 16 rows of 16 words in registers: words within pairs, pairs within quarters, then quarters.
inline void transpose_16x16(__m512i rows[16]) {
  __m512i words[16], pairs[16], quarters[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    words[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    words[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    pairs[i] = _mm512_unpacklo_epi64(words[i], words[i + 2]);
    pairs[i + 1] = _mm512_unpackhi_epi64(words[i], words[i + 2]);
    pairs[i + 2] = _mm512_unpacklo_epi64(words[i + 1], words[i + 3]);
    pairs[i + 3] = _mm512_unpackhi_epi64(words[i + 1], words[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    quarters[i] = _mm512_shuffle_i32x4(pairs[i], pairs[i + 4], 0x88);
    quarters[i + 4] = _mm512_shuffle_i32x4(pairs[i], pairs[i + 4], 0xdd);
    quarters[i + 8] = _mm512_shuffle_i32x4(pairs[i + 8], pairs[i + 12], 0x88);
    quarters[i + 12] = _mm512_shuffle_i32x4(pairs[i + 8], pairs[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_i32x4(quarters[i], quarters[i + 8], 0x88);
    rows[i + 4] = _mm512_shuffle_i32x4(quarters[i + 4], quarters[i + 12], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(quarters[i], quarters[i + 8], 0xdd);
    rows[i + 12] = _mm512_shuffle_i32x4(quarters[i + 4], quarters[i + 12], 0xdd);
  }
}

inline __mmask16 first(int64_t count) {
  return static_cast<__mmask16>((1u << count) - 1);
}

/// The same for at most 16 words.
inline void transpose_block(const char* rows, int64_t row_bytes, int64_t row_count, int64_t words, uint32_t* panel,
                            int64_t lanes, int64_t panel_lanes) {
  __m512i block[16];
  const __mmask16 mask = first(words);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    block[i] = i < row_count ? _mm512_maskz_loadu_epi32(mask, rows + i * row_bytes) : _mm512_setzero_si512();
  }
  transpose_16x16(block);
  const __mmask16 used = first(lanes);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    if (i < words) _mm512_mask_storeu_epi32(panel + i * panel_lanes, used, block[i]);
  }
}

}  // namespace

void transpose_words_avx512(const void* rows, int64_t row_bytes, int64_t row_count, int64_t words, uint32_t* panel,
                            int64_t lanes, int64_t panel_lanes) {
  const char* from = static_cast<const char*>(rows);
  for (; words > 16; words -= 16) {
    transpose_block(from, row_bytes, row_count, 16, panel, lanes, panel_lanes);
    from += 64;
    panel += 16 * panel_lanes;
  }
  transpose_block(from, row_bytes, row_count, words, panel, lanes, panel_lanes);
}

void interleave_rows_avx512(const void* rows, int64_t row_bytes, int64_t row_lanes, int64_t depth, bool pairs,
                            int64_t words, uint32_t* panel, int64_t lanes, int64_t panel_lanes) {
  const char* from = static_cast<const char*>(rows);
  const __mmask16 read = first(row_lanes), written = first(lanes);
  const auto load = [&](int64_t row) {
    return row < depth ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(read, from + row * row_bytes))
                       : _mm512_setzero_si512();
  };
  for (int64_t word = 0; word < words; ++word) {
    __m512i values;
    if (pairs) {
      values = _mm512_or_si512(load(2 * word), _mm512_slli_epi32(load(2 * word + 1), 16));
    } else {
      values = word < depth ? _mm512_maskz_loadu_epi32(read, from + word * row_bytes) : _mm512_setzero_si512();
    }
    _mm512_mask_storeu_epi32(panel + word * panel_lanes, written, values);
  }
}

}  // namespace fledge::tensor::cpu
