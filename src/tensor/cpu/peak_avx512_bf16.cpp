#include <immintrin.h>

#include "tensor/cpu/peak.h"

namespace fledge::tensor::cpu {

double multiply_add_avx512_bf16(int64_t rounds) {
  constexpr int kChains = 24;
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f00));        // 0.5
  const auto b = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3e80));  // 0.25
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(a));  // the product must be computed every time
#pragma GCC unroll 24
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = _mm512_dpbf16_ps(sums[chain], a, b);
  }
  for (const auto& sum : sums) asm volatile("" : : "v"(sum));
  return static_cast<double>(rounds) * kChains * 32 * 2;
}

}  // namespace fledge::tensor::cpu
