#include <immintrin.h>

#include "tensor/cpu/gemm_multiply-inl.h"
#include "tensor/cpu/gemm_pack-inl.h"

namespace fledge::tensor::cpu::avx2 {
namespace {

struct Simd {
  using Vector = __m256;
  static constexpr int kLanes = 8;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector load(const float* p) { return _mm256_loadu_ps(p); }
  static Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static Vector multiply_add(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }
  static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  static void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
  static __m256i mask(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Vector load_part(const float* p, int64_t count) { return _mm256_maskload_ps(p, mask(count)); }
  static void store_part(float* p, int64_t count, Vector v) { _mm256_maskstore_ps(p, mask(count), v); }
};

}  // namespace

void pack_a_f32(const PanelSource& source, void* panel) {
  pack_portable<false, kRows>(source, panel);
}

void pack_b_f32(const PanelSource& source, void* panel) {
  pack_portable<false, kColumns>(source, panel);
}

void pack_a_rounded(const PanelSource& source, void* panel) {
  pack_portable<true, kRows>(source, panel);
}

void pack_b_rounded(const PanelSource& source, void* panel) {
  pack_portable<true, kColumns>(source, panel);
}

void multiply_f32(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                  int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_panels<Simd, kRows, kRows, kColumns / Simd::kLanes>(depth, a_panel, b_panel, c, c_stride, used_rows,
                                                               used_columns, accumulate);
}

}  // namespace fledge::tensor::cpu::avx2
