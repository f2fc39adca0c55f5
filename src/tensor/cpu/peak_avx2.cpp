#include <immintrin.h>

#include "tensor/cpu/peak.h"

namespace fledge::tensor::cpu {

double multiply_add_avx2(int64_t rounds) {
  constexpr int kChains = 12;
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  __m256 a = _mm256_set1_ps(0.5F);
  const __m256 b = _mm256_set1_ps(0.25F);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(a));  // the product must be computed every time
#pragma GCC unroll 12
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = _mm256_fmadd_ps(a, b, sums[chain]);
  }
  for (const auto& sum : sums) asm volatile("" : : "x"(sum));
  return static_cast<double>(rounds) * kChains * 8 * 2;
}

double multiply_add_int8_avx2(int64_t rounds) {
  constexpr int kChains = 12;
  __m256i sums[kChains];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi8(3);
  const __m256i b = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int chain = 0; chain < kChains; ++chain) {
      asm volatile("" : "+x"(a));  // no product is like the one before
      sums[chain] = _mm256_add_epi32(sums[chain], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  }
  for (const auto& sum : sums) asm volatile("" : : "x"(sum));
  return static_cast<double>(rounds) * kChains * 32 * 2;
}

}  // namespace fledge::tensor::cpu
