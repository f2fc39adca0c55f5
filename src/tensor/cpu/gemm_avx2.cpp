#include "tensor/cpu/gemm_narrow_avx2-inl.h"
#include "tensor/cpu/gemm_pack_avx2-inl.h"
#include "tensor/cpu/gemm_pairs_avx2-inl.h"

namespace fledge::tensor::cpu::avx2 {
namespace {

constexpr int kVectors = kColumns / Simd::kLanes;

}  // namespace

void pack_a_f32(const PanelSource& source, void* panel) {
  pack_words<Words::f32, kRows>(source, 1, panel);
}

void pack_b_f32(const PanelSource& source, void* panel) {
  pack_words<Words::f32, kColumns>(source, 1, panel);
}

void pack_few_f32(const PanelSource& source, void* panel) {
  pack_few_rows<Words::f32, kFewRows>(source, 1, panel);
}

void pack_a_rounded(const PanelSource& source, void* panel) {
  pack_words<Words::rounded, kRows>(source, 1, panel);
}

void pack_b_rounded(const PanelSource& source, void* panel) {
  pack_words<Words::rounded, kColumns>(source, 1, panel);
}

void pack_few_rounded(const PanelSource& source, void* panel) {
  pack_few_rows<Words::rounded, kFewRows>(source, 1, panel);
}

void multiply_f32(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                  int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_panels<Simd, kRows, kRows, kVectors>(depth, a_panel, b_panel, c, c_stride, used_rows, used_columns,
                                                accumulate);
}

void multiply_few_f32(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                      int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_few_rows<Simd, kFewRows, kVectors>(depth, a_panel, b_panel, c, c_stride, used_rows, used_columns,
                                              accumulate);
}

void pack_a_bf16(const PanelSource& source, void* panel) {
  pack_words<Words::rounded, kPairRows>(source, 2, panel);
}

void pack_b_bf16(const PanelSource& source, void* panel) {
  pack_words<Words::pairs, kPairColumns>(source, 2, panel);
}

void pack_few_bf16(const PanelSource& source, void* panel) {
  pack_few_rows<Words::rounded, kPairRows>(source, 2, panel);
}

void multiply_bf16(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                   int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_pairs<kPairRows, false>(depth / 2, a_panel, b_panel, c, c_stride, used_rows, used_columns, accumulate);
}

void multiply_few_bf16(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                       int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_pairs<kPairRows, true>(depth / 2, a_panel, b_panel, c, c_stride, used_rows, used_columns, accumulate);
}

void find_bases(const void* panel, int64_t pairs, uint8_t* bases) {
  find_narrow_bases(panel, pairs, bases);
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
  multiply_narrow_panel<kPairRows>(depth / 2, static_cast<const float*>(a_panel), b, c, c_stride, used_rows,
                                   used_columns, accumulate);
}

}  // namespace fledge::tensor::cpu::avx2
