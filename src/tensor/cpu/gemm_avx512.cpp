#include "tensor/cpu/gemm_multiply-inl.h"
#include "tensor/cpu/gemm_pack_avx512-inl.h"

namespace fledge::tensor::cpu::avx512 {
namespace {

struct Simd {
  using Vector = __m512;
  static constexpr int kLanes = 16, kPrefetchWords = 0;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector load(const float* p) { return _mm512_loadu_ps(p); }
  static Vector broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Vector multiply_add(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
  static __mmask16 mask(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }
  static Vector load_part(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(mask(count), p); }
  static void store_part(float* p, int64_t count, Vector v) { _mm512_mask_storeu_ps(p, mask(count), v); }
};

}  // namespace

void pack_a_f32(const PanelSource& source, void* panel) {
  pack_words<Words::f32, kRows>(source, 1, panel);
}

void pack_b_f32(const PanelSource& source, void* panel) {
  pack_words<Words::f32, kColumns>(source, 1, panel);
}

void pack_a_rounded(const PanelSource& source, void* panel) {
  pack_words<Words::rounded, kRows>(source, 1, panel);
}

void pack_b_rounded(const PanelSource& source, void* panel) {
  pack_words<Words::rounded, kColumns>(source, 1, panel);
}

void multiply_f32(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                  int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_panels<Simd, kRows, kRows, kColumns / Simd::kLanes>(depth, a_panel, b_panel, c, c_stride, used_rows,
                                                               used_columns, accumulate);
}

void pack_few_f32(const PanelSource& source, void* panel) {
  pack_few_rows<Words::f32, kFewRows>(source, 1, panel);
}

void pack_few_rounded(const PanelSource& source, void* panel) {
  pack_few_rows<Words::rounded, kFewRows>(source, 1, panel);
}

void multiply_few_f32(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                      int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_few_rows<Simd, kFewRows, kColumns / Simd::kLanes>(depth, a_panel, b_panel, c, c_stride, used_rows,
                                                             used_columns, accumulate);
}

}  // namespace fledge::tensor::cpu::avx512
