#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "tensor/cpu/gemm_functions.h"
#include "tensor/cpu/gemm_multiply-inl.h"
#include "tensor/cpu/gemm_pack_avx2-inl.h"

// Products of widened values of A with pairs of bf16 of B, which AVX2 widens in registers: the lower half of a word is
// shifted up, the upper one needs no more than a mask. Everything has internal linkage.
namespace fledge::tensor::cpu::avx2 {
namespace {

struct Simd {
  using Vector = __m256;
  static constexpr int kLanes = 8, kPrefetchWords = 512;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector load(const float* p) { return _mm256_loadu_ps(p); }
  static Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static Vector multiply_add(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }
  static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  static void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
  static Vector load_part(const float* p, int64_t count) { return _mm256_maskload_ps(p, first_of_8(count)); }
  static void store_part(float* p, int64_t count, Vector v) { _mm256_maskstore_ps(p, first_of_8(count), v); }
};

using Vector = Simd::Vector;

constexpr int kPairVectors = kPairColumns / Simd::kLanes;

Vector lower_half(Vector words) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(words), 16));
}

Vector upper_half(Vector words) {
  return _mm256_and_ps(words, _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

/// One element of depth: A's widened values times B's, which half(vector) widens.
template <int kRows, class Half>
__attribute__((always_inline)) inline void add_products(const float* a, Half half,
                                                        Vector (&sums)[kRows][kPairVectors]) {
  Vector left[kRows];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) left[row] = Simd::broadcast(a + row);
#pragma GCC unroll 4
  for (int vector = 0; vector < kPairVectors; ++vector) {
    const Vector right = half(vector);
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      sums[row][vector] = Simd::multiply_add(left[row], right, sums[row][vector]);
    }
  }
}

// Steps of add_pair(): three values of A, then a vector of columns of B and its products with them. Sums are operands 0
// to 11.
// clang-format off
#define FLEDGE_LEFT(offset) \
  "vbroadcastss " offset "+0(%[a]), %%ymm12\n" \
  "vbroadcastss " offset "+4(%[a]), %%ymm13\n" \
  "vbroadcastss " offset "+8(%[a]), %%ymm14\n"
#define FLEDGE_PRODUCTS(first, second, third) \
  "vfmadd231ps %%ymm15, %%ymm12, " first "\n" \
  "vfmadd231ps %%ymm15, %%ymm13, " second "\n" \
  "vfmadd231ps %%ymm15, %%ymm14, " third "\n"
#define FLEDGE_LOWER(offset, first, second, third) \
  "vmovups " offset "(%[b]), %%ymm15\n" \
  "vpslld $16, %%ymm15, %%ymm15\n" \
  FLEDGE_PRODUCTS(first, second, third)
#define FLEDGE_UPPER(offset, first, second, third) \
  "vmovaps %[mask], %%ymm15\n" \
  "vandps " offset "(%[b]), %%ymm15, %%ymm15\n" \
  FLEDGE_PRODUCTS(first, second, third)

/// A pair of depth for three rows, whose twelve sums and four operands take every register: written out, because g++ 12
/// leaves three of the sums in memory.
__attribute__((always_inline)) inline void add_pair(const float* a, const float* b,
                                                    Vector (&sums)[3][kPairVectors]) {
  alignas(32) static constexpr uint32_t kMask[8] = {0xffff0000u, 0xffff0000u, 0xffff0000u, 0xffff0000u,
                                                    0xffff0000u, 0xffff0000u, 0xffff0000u, 0xffff0000u};
  asm(FLEDGE_LEFT("0")
      FLEDGE_LOWER("0", "%0", "%4", "%8") FLEDGE_LOWER("32", "%1", "%5", "%9")
      FLEDGE_LOWER("64", "%2", "%6", "%10") FLEDGE_LOWER("96", "%3", "%7", "%11")
      FLEDGE_LEFT("12")
      FLEDGE_UPPER("0", "%0", "%4", "%8") FLEDGE_UPPER("32", "%1", "%5", "%9")
      FLEDGE_UPPER("64", "%2", "%6", "%10") FLEDGE_UPPER("96", "%3", "%7", "%11")
      : "+x"(sums[0][0]), "+x"(sums[0][1]), "+x"(sums[0][2]), "+x"(sums[0][3]),
        "+x"(sums[1][0]), "+x"(sums[1][1]), "+x"(sums[1][2]), "+x"(sums[1][3]),
        "+x"(sums[2][0]), "+x"(sums[2][1]), "+x"(sums[2][2]), "+x"(sums[2][3])
      : [a] "r"(a), [b] "r"(b), [mask] "m"(kMask), "m"(*reinterpret_cast<const float(*)[6]>(a)),
        "m"(*reinterpret_cast<const float(*)[kPairColumns]>(b))
      : "xmm12", "xmm13", "xmm14", "xmm15");
}
// clang-format on

#undef FLEDGE_UPPER
#undef FLEDGE_LOWER
#undef FLEDGE_PRODUCTS
#undef FLEDGE_LEFT

/// B's panel holds pairs of depth; A's every value in f32.
template <int kRows, int kPanelRows>
void multiply_pair_rows(int64_t pairs, const float* a, const float* b, float* c, int64_t c_stride, int64_t used_columns,
                        bool accumulate) {
  Vector sums[kRows][kPairVectors];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int vector = 0; vector < kPairVectors; ++vector) sums[row][vector] = Simd::zero();
  }
  for (int64_t pair = 0; pair < pairs; ++pair, a += 2 * kPanelRows, b += kPairColumns) {
    if constexpr (kRows == 3) {
      add_pair(a, b, sums);
    } else {
      const auto word = [&](int vector) __attribute__((always_inline)) {
        return Simd::load(b + vector * Simd::kLanes);
      };
      add_products<kRows>(
          a, [&](int vector) __attribute__((always_inline)) { return lower_half(word(vector)); }, sums);
      add_products<kRows>(
          a + kPanelRows, [&](int vector) __attribute__((always_inline)) { return upper_half(word(vector)); }, sums);
    }
  }
  deliver_sums<Simd, kRows, kPairVectors>(sums, c, c_stride, used_columns, accumulate);
}

/// kFew: A's panel has room for its rows alone.
template <int kRows, bool kFew>
void multiply_pairs(int64_t pairs, const void* a, const void* b, float* c, int64_t c_stride, int64_t used_rows,
                    int64_t used_columns, bool accumulate) {
  if (used_rows >= kRows) {
    multiply_pair_rows<kRows, kFew ? kRows : kPairRows>(
        pairs, static_cast<const float*>(a), static_cast<const float*>(b), c, c_stride, used_columns, accumulate);
  } else if constexpr (kRows > 1) {
    multiply_pairs<kRows - 1, kFew>(pairs, a, b, c, c_stride, used_rows, used_columns, accumulate);
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu::avx2
