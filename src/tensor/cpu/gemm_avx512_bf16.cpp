#include "tensor/cpu/gemm_multiply-inl.h"
#include "tensor/cpu/gemm_narrow_avx512-inl.h"
#include "tensor/cpu/gemm_pack_avx512-inl.h"

namespace fledge::tensor::cpu::avx512_bf16 {
namespace {

/// A word is a pair of bf16: one VDPBF16PS adds two products to each sum.
struct Simd {
  using Vector = __m512;
  static constexpr int kLanes = 16, kPrefetchWords = 0;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector load(const float* p) { return _mm512_loadu_ps(p); }
  static Vector broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Vector multiply_add(Vector a, Vector b, Vector sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
  static __mmask16 mask(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }
  static Vector load_part(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(mask(count), p); }
  static void store_part(float* p, int64_t count, Vector v) { _mm512_mask_storeu_ps(p, mask(count), v); }
};

}  // namespace

void pack_a(const PanelSource& source, void* panel) {
  pack_words<Words::pairs, kRows>(source, 2, panel);
}

void pack_b(const PanelSource& source, void* panel) {
  pack_words<Words::pairs, kColumns>(source, 2, panel);
}

void multiply(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride, int64_t used_rows,
              int64_t used_columns, bool accumulate) {
  multiply_panels<Simd, kRows, kRows, kColumns / Simd::kLanes>(depth / 2, a_panel, b_panel, c, c_stride, used_rows,
                                                               used_columns, accumulate);
}

void pack_few(const PanelSource& source, void* panel) {
  pack_few_rows<Words::pairs, kFewRows>(source, 2, panel);
}

void multiply_few(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                  int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_few_rows<Simd, kFewRows, kColumns / Simd::kLanes>(depth / 2, a_panel, b_panel, c, c_stride, used_rows,
                                                             used_columns, accumulate);
}

void find_bases(const void* panel, int64_t pairs, uint8_t* bases) {
  cpu::find_bases(panel, pairs, bases);
}

int64_t narrow(const void* panel, int64_t pairs, const uint8_t* bases, void* narrow, NarrowException* exceptions,
               int64_t most) {
  return narrow_panel(panel, pairs, bases, narrow, exceptions, most);
}

void widen(const NarrowSource& narrow, int64_t pairs, void* panel) {
  widen_panel(narrow, pairs, panel);
}

void multiply_narrow(int64_t depth, const void* a_panel, const NarrowSource& b, float* c, int64_t c_stride,
                     int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_narrow_panel<Simd, kFewRows>(depth / 2, static_cast<const float*>(a_panel), b, c, c_stride, used_rows,
                                        used_columns, accumulate);
}

}  // namespace fledge::tensor::cpu::avx512_bf16
