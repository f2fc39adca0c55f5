#include <emmintrin.h>

#include "tensor/cpu/gemm_multiply-inl.h"
#include "tensor/cpu/gemm_pack-inl.h"

namespace fledge::tensor::cpu::baseline {
namespace {

struct Simd {
  using Vector = __m128;
  static constexpr int kLanes = 4, kPrefetchWords = 0;
  static Vector zero() { return _mm_setzero_ps(); }
  static Vector load(const float* p) { return _mm_loadu_ps(p); }
  static Vector broadcast(const float* p) { return _mm_set1_ps(*p); }
  static Vector multiply_add(Vector a, Vector b, Vector sum) { return _mm_add_ps(_mm_mul_ps(a, b), sum); }
  static Vector add(Vector a, Vector b) { return _mm_add_ps(a, b); }
  static void store(float* p, Vector v) { _mm_storeu_ps(p, v); }
  static Vector load_part(const float* p, int64_t count) {
    float lanes[kLanes] = {};
    for (int64_t lane = 0; lane < count; ++lane) lanes[lane] = p[lane];
    return load(lanes);
  }
  static void store_part(float* p, int64_t count, Vector v) {
    float lanes[kLanes];
    store(lanes, v);
    for (int64_t lane = 0; lane < count; ++lane) p[lane] = lanes[lane];
  }
};

}  // namespace

void pack_a_f32(const PanelSource& source, void* panel) {
  pack_portable<false, kRows>(source, 1, panel);
}

void pack_b_f32(const PanelSource& source, void* panel) {
  pack_portable<false, kColumns>(source, 1, panel);
}

void pack_a_rounded(const PanelSource& source, void* panel) {
  pack_portable<true, kRows>(source, 1, panel);
}

void pack_b_rounded(const PanelSource& source, void* panel) {
  pack_portable<true, kColumns>(source, 1, panel);
}

void multiply_f32(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                  int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_panels<Simd, kRows, kRows, kColumns / Simd::kLanes>(depth, a_panel, b_panel, c, c_stride, used_rows,
                                                               used_columns, accumulate);
}

}  // namespace fledge::tensor::cpu::baseline
