#include <immintrin.h>

#include "tensor/cpu/peak.h"

namespace fledge::tensor::cpu {

double multiply_add_avx512(int64_t rounds) {
  constexpr int kChains = 24;
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  __m512 a = _mm512_set1_ps(0.5F);
  const __m512 b = _mm512_set1_ps(0.25F);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(a));  // the product must be computed every time
#pragma GCC unroll 24
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = _mm512_fmadd_ps(a, b, sums[chain]);
  }
  for (const auto& sum : sums) asm volatile("" : : "v"(sum));
  return static_cast<double>(rounds) * kChains * 16 * 2;
}

}  // namespace fledge::tensor::cpu
