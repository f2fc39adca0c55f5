#include <immintrin.h>

#include "tensor/cpu/peak.h"

namespace fledge::tensor::cpu {

double multiply_add_int8_avx512_vnni(int64_t rounds) {
  constexpr int kChains = 12;
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1);
  __m512i s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a, s8 = a, s9 = a, s10 = a, s11 = a;
  for (int64_t round = 0; round < rounds; ++round) {
    // Written out: g++ 12 copies the sums from register to register.
    asm volatile(
        "vpdpbusd %[b], %[a], %0\n\tvpdpbusd %[b], %[a], %1\n\tvpdpbusd %[b], %[a], %2\n\t"
        "vpdpbusd %[b], %[a], %3\n\tvpdpbusd %[b], %[a], %4\n\tvpdpbusd %[b], %[a], %5\n\t"
        "vpdpbusd %[b], %[a], %6\n\tvpdpbusd %[b], %[a], %7\n\tvpdpbusd %[b], %[a], %8\n\t"
        "vpdpbusd %[b], %[a], %9\n\tvpdpbusd %[b], %[a], %10\n\tvpdpbusd %[b], %[a], %11"
        : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9), "+v"(s10),
          "+v"(s11)
        : [a] "v"(a), [b] "v"(b));
  }
  return static_cast<double>(rounds) * kChains * 64 * 2;
}

}  // namespace fledge::tensor::cpu
