#pragma once

#include "tensor/cpu/quantized_multiply-inl.h"

namespace fledge::tensor::cpu {
namespace {

/// 16 lanes; numbers are unsigned, activations signed.
struct Vnni {
  using Ints = __m512i;
  using Floats = __m512;
  static constexpr int kLanes = 16, kMaximumRows = 12;
  static constexpr bool kShortSums = false;
  // The forms without a mask make g++ 12 warn of values that are not used.
  static constexpr __mmask16 kAll = 0xffff;

  static Ints load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Ints broadcast(int32_t value) { return _mm512_set1_epi32(value); }
  static Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  static Ints low_nibbles(Ints both) { return _mm512_and_si512(both, _mm512_set1_epi8(15)); }
  static Ints high_nibbles(Ints both) { return _mm512_and_si512(_mm512_srli_epi16(both, 4), _mm512_set1_epi8(15)); }
  /// Bits 2 * place and above of each byte become bits 4 and 5.
  template <int place>
  static Ints with_upper_bits(Ints low, Ints bits) {
    if constexpr (place < 2) bits = _mm512_slli_epi16(bits, 4 - 2 * place);
    if constexpr (place > 2) bits = _mm512_srli_epi16(bits, 2 * place - 4);
    constexpr int kOrOfAnd = 0xf8;  // a | (b & c)
    return _mm512_ternarylogic_epi32(low, bits, _mm512_set1_epi8(0x30), kOrOfAnd);
  }
  static Ints dot(Ints sum, Ints word, int32_t values) {
    return _mm512_dpbusd_epi32(sum, word, _mm512_set1_epi32(values));
  }
  static void store_ints(uint8_t* to, Ints value) { _mm512_storeu_si512(to, value); }

  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats broadcast(float value) { return _mm512_set1_ps(value); }
  static Floats from_f16(const uint8_t* from) {
    return _mm512_maskz_cvtph_ps(kAll, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Floats from_u8(const uint8_t* from) {
    return to_floats(_mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  static Floats from_i8(const uint8_t* from) {
    return to_floats(_mm512_maskz_cvtepi8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  static Floats load_floats(const uint8_t* from) { return _mm512_loadu_ps(from); }
  static Floats to_floats(Ints value) { return _mm512_maskz_cvtepi32_ps(kAll, value); }
  static Floats negative(Floats value) { return _mm512_xor_ps(value, _mm512_set1_ps(-0.0f)); }
  static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static void store(float* to, Floats value) { _mm512_storeu_ps(to, value); }
  static void store_floats(uint8_t* to, Floats value) { _mm512_storeu_ps(to, value); }
};

}  // namespace
}  // namespace fledge::tensor::cpu
