#include "tensor/cpu/quantized_multiply-inl.h"
#include "tensor/cpu/quantized_twin-inl.h"

namespace fledge::tensor::cpu::baseline {
namespace {

/// 4 lanes with SSE 4.1.
struct Sse {
  using Ints = __m128i;
  using Floats = __m128;
  static constexpr int kLanes = 4, kMaximumRows = 4;
  static constexpr bool kShortSums = true;

  static const __m128i* vector_at(const uint8_t* from) { return reinterpret_cast<const __m128i*>(from); }
  static __m128i four_bytes(const uint8_t* from) {
    int32_t word;
    memcpy(&word, from, sizeof word);
    return _mm_cvtsi32_si128(word);
  }

  static Ints load(const uint8_t* from) { return _mm_loadu_si128(vector_at(from)); }
  static Ints zero_ints() { return _mm_setzero_si128(); }
  static Ints broadcast(int32_t value) { return _mm_set1_epi32(value); }
  static Ints add(Ints a, Ints b) { return _mm_add_epi32(a, b); }
  static Ints low_nibbles(Ints both) { return _mm_and_si128(both, _mm_set1_epi8(15)); }
  static Ints high_nibbles(Ints both) { return _mm_and_si128(_mm_srli_epi16(both, 4), _mm_set1_epi8(15)); }
  template <int place>
  static Ints with_upper_bits(Ints low, Ints bits) {
    if constexpr (place < 2) bits = _mm_slli_epi16(bits, 4 - 2 * place);
    if constexpr (place > 2) bits = _mm_srli_epi16(bits, 2 * place - 4);
    return _mm_or_si128(low, _mm_and_si128(bits, _mm_set1_epi8(0x30)));
  }
  static Ints multiply_pairs(Ints word, int32_t values) { return _mm_maddubs_epi16(word, _mm_set1_epi32(values)); }
  static Ints add_shorts(Ints a, Ints b) {
    Ints sum = _mm_add_epi16(a, b);
    asm("" : "+x"(sum));  // g++ would add in another order, which leaves too many products waiting for registers
    return sum;
  }
  template <int factor>
  static Ints add_pairs(Ints sum, Ints pairs) {
    return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(factor)));
  }

  static Floats zero() { return _mm_setzero_ps(); }
  static Floats broadcast(float value) { return _mm_set1_ps(value); }
  /// Exponent and fraction move to their place in an f32, whose exponent is then 112 too small; the multiplication
  /// mends that for subnormal numbers too. What is infinite or no number gets the largest exponent.
  static Floats from_f16(const uint8_t* from) {
    const __m128i bits = _mm_cvtepu16_epi32(_mm_loadl_epi64(vector_at(from)));
    const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7fff));
    const __m128i sign = _mm_slli_epi32(_mm_sub_epi32(bits, magnitude), 16);
    const __m128 value =
        _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(magnitude, 13)), _mm_castsi128_ps(_mm_set1_epi32(0x77800000)));
    const __m128i special =
        _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff)), _mm_set1_epi32(0x7f800000));
    return _mm_or_ps(value, _mm_castsi128_ps(_mm_or_si128(sign, special)));
  }
  static Floats from_u8(const uint8_t* from) { return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(four_bytes(from))); }
  static Floats from_i8(const uint8_t* from) { return _mm_cvtepi32_ps(_mm_cvtepi8_epi32(four_bytes(from))); }
  static Floats to_floats(Ints value) { return _mm_cvtepi32_ps(value); }
  static Floats negative(Floats value) { return _mm_xor_ps(value, _mm_set1_ps(-0.0f)); }
  static Floats multiply(Floats a, Floats b) { return _mm_mul_ps(a, b); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
  static void store(float* to, Floats value) { _mm_storeu_ps(to, value); }
};

}  // namespace

void multiply_quantized(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations,
                        int64_t rows, float* sums, int64_t sums_stride) {
  multiply_kind<Twin<Sse>>(kind, panel, groups, activations, rows, sums, sums_stride);
}

}  // namespace fledge::tensor::cpu::baseline
