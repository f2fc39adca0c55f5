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

}  // namespace fledge::tensor::cpu
