#include <smmintrin.h>

#include "tensor/cpu/peak.h"

namespace fledge::tensor::cpu {

double multiply_add_baseline(int64_t rounds) {
  constexpr int kChains = 8;
  __m128 sums[kChains];
  for (__m128& sum : sums) sum = _mm_setzero_ps();
  __m128 a = _mm_set1_ps(0.5F);
  const __m128 b = _mm_set1_ps(0.25F);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain) {
      asm volatile("" : "+x"(a));  // no product is like the one before
      sums[chain] = _mm_add_ps(sums[chain], _mm_mul_ps(a, b));
    }
  }
  for (const __m128& sum : sums) asm volatile("" : : "x"(sum));
  return static_cast<double>(rounds) * kChains * 4 * 2;
}

double multiply_add_int8_baseline(int64_t rounds) {
  constexpr int kChains = 8;
  __m128i sums[kChains];
  for (__m128i& sum : sums) sum = _mm_setzero_si128();
  __m128i a = _mm_set1_epi8(3);
  const __m128i b = _mm_set1_epi8(1), ones = _mm_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain) {
      asm volatile("" : "+x"(a));  // no product is like the one before
      sums[chain] = _mm_add_epi32(sums[chain], _mm_madd_epi16(_mm_maddubs_epi16(a, b), ones));
    }
  }
  for (const __m128i& sum : sums) asm volatile("" : : "x"(sum));
  return static_cast<double>(rounds) * kChains * 16 * 2;
}

}  // namespace fledge::tensor::cpu
