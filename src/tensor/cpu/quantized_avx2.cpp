#include "tensor/cpu/quantized_multiply-inl.h"
#include "tensor/cpu/quantized_twin-inl.h"

namespace fledge::tensor::cpu::avx2 {
namespace {

/// 8 lanes. VPMADDUBSW saturates sums of two products at 16 bits, which numbers of 8 bits can reach: those are
/// multiplied by halves.
struct Avx2 {
  using Ints = __m256i;
  using Floats = __m256;
  static constexpr int kLanes = 8, kMaximumRows = 4;
  static constexpr bool kShortSums = true;

  static Ints load(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static Ints zero_ints() { return _mm256_setzero_si256(); }
  static Ints broadcast(int32_t value) { return _mm256_set1_epi32(value); }
  static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  static Ints low_nibbles(Ints both) { return _mm256_and_si256(both, _mm256_set1_epi8(15)); }
  static Ints high_nibbles(Ints both) { return _mm256_and_si256(_mm256_srli_epi16(both, 4), _mm256_set1_epi8(15)); }
  template <int place>
  static Ints with_upper_bits(Ints low, Ints bits) {
    if constexpr (place < 2) bits = _mm256_slli_epi16(bits, 4 - 2 * place);
    if constexpr (place > 2) bits = _mm256_srli_epi16(bits, 2 * place - 4);
    return _mm256_or_si256(low, _mm256_and_si256(bits, _mm256_set1_epi8(0x30)));
  }
  static Ints multiply_pairs(Ints word, int32_t values) {
    return _mm256_maddubs_epi16(word, _mm256_set1_epi32(values));
  }
  static Ints add_shorts(Ints a, Ints b) {
    Ints sum = _mm256_add_epi16(a, b);
    asm("" : "+x"(sum));  // g++ would add in another order, which leaves too many products waiting for registers
    return sum;
  }
  template <int factor>
  static Ints add_pairs(Ints sum, Ints pairs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(factor)));
  }

  static Floats zero() { return _mm256_setzero_ps(); }
  static Floats broadcast(float value) { return _mm256_set1_ps(value); }
  static Floats from_f16(const uint8_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Floats from_u8(const uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  static Floats from_i8(const uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  static Floats to_floats(Ints value) { return _mm256_cvtepi32_ps(value); }
  static Floats negative(Floats value) { return _mm256_xor_ps(value, _mm256_set1_ps(-0.0f)); }
  static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static void store(float* to, Floats value) { _mm256_storeu_ps(to, value); }
};

}  // namespace

void multiply_quantized(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations,
                        int64_t rows, float* sums, int64_t sums_stride) {
  multiply_kind<Twin<Avx2>>(kind, panel, groups, activations, rows, sums, sums_stride);
}

}  // namespace fledge::tensor::cpu::avx2
