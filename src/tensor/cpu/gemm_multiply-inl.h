#pragma once

#include <stdint.h>

// The register-blocked product of two panels, written once for every instruction set with vector registers. Everything
// has internal linkage, so that each including file keeps its own copy.
//
// Simd: Vector, kLanes, zero(), load(p), broadcast(p), multiply_add(a, b, sum), add(x, y), and store/load of f32 sums,
// whole and for the first `count` lanes. Panels are read as 32-bit words: one f32 or a pair of bf16. kPrefetchWords:
// how far ahead B is asked for, where its panels do not stay in the L1 cache and that helps; 0: not at all.
namespace fledge::tensor::cpu {
namespace {

/// With so few rows (a step of generation) a product waits for B, which comes from memory: it is asked for so many
/// words before it is used.
constexpr int kFewQueryRows = 4, kFewRowsAhead = 1024;

/// Writes or adds the sums of a tile, as far as its columns are used.
template <class Simd, int kRows, int kVectors>
__attribute__((always_inline)) inline void deliver_sums(typename Simd::Vector (&sums)[kRows][kVectors], float* c,
                                                        int64_t c_stride, int64_t used_columns, bool accumulate) {
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    float* target = c + row * c_stride;
#pragma GCC unroll 4
    for (int vector = 0; vector < kVectors; ++vector) {
      const int64_t left_over = used_columns - vector * Simd::kLanes;
      if (left_over >= Simd::kLanes) {
        if (accumulate) sums[row][vector] = Simd::add(Simd::load(target), sums[row][vector]);
        Simd::store(target, sums[row][vector]);
      } else if (left_over > 0) {
        if (accumulate) sums[row][vector] = Simd::add(Simd::load_part(target, left_over), sums[row][vector]);
        Simd::store_part(target, left_over, sums[row][vector]);
      }
      target += Simd::kLanes;
    }
  }
}

/// The sums of kRows rows and kVectors vectors of columns, step after step through the depth.
template <class Simd, int kRows, int kPanelRows, int kVectors>
void multiply_rows(int64_t steps, const float* a, const float* b, float* c, int64_t c_stride, int64_t used_columns,
                   bool accumulate) {
  typename Simd::Vector sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int vector = 0; vector < kVectors; ++vector) sums[row][vector] = Simd::zero();
  }
  for (int64_t step = 0; step < steps; ++step) {
    typename Simd::Vector right[kVectors];
#pragma GCC unroll 4
    for (int vector = 0; vector < kVectors; ++vector) right[vector] = Simd::load(b + vector * Simd::kLanes);
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const typename Simd::Vector left = Simd::broadcast(a + row);
#pragma GCC unroll 4
      for (int vector = 0; vector < kVectors; ++vector) {
        sums[row][vector] = Simd::multiply_add(left, right[vector], sums[row][vector]);
      }
    }
    if constexpr (Simd::kPrefetchWords > 0) __builtin_prefetch(b + Simd::kPrefetchWords);
    if constexpr (kRows <= kFewQueryRows) {
#pragma GCC unroll 4
      for (int vector = 0; vector < kVectors; ++vector) __builtin_prefetch(b + kFewRowsAhead + vector * Simd::kLanes);
    }
    a += kPanelRows;
    b += kVectors * Simd::kLanes;
  }
  deliver_sums<Simd, kRows, kVectors>(sums, c, c_stride, used_columns, accumulate);
}

/// Calls the block that is compiled for exactly `used_rows` rows: with one row (generation) no arithmetic is wasted.
template <class Simd, int kRows, int kPanelRows, int kVectors>
void multiply_panels(int64_t steps, const void* a, const void* b, float* c, int64_t c_stride, int64_t used_rows,
                     int64_t used_columns, bool accumulate) {
  if (used_rows >= kRows) {
    multiply_rows<Simd, kRows, kPanelRows, kVectors>(steps, static_cast<const float*>(a), static_cast<const float*>(b),
                                                     c, c_stride, used_columns, accumulate);
  } else if constexpr (kRows > 1) {
    multiply_panels<Simd, kRows - 1, kPanelRows, kVectors>(steps, a, b, c, c_stride, used_rows, used_columns,
                                                           accumulate);
  }
}

/// The same for up to kRows rows that were packed without room for others.
template <class Simd, int kRows, int kVectors>
void multiply_few_rows(int64_t steps, const void* a, const void* b, float* c, int64_t c_stride, int64_t used_rows,
                       int64_t used_columns, bool accumulate) {
  if (used_rows >= kRows) {
    multiply_rows<Simd, kRows, kRows, kVectors>(steps, static_cast<const float*>(a), static_cast<const float*>(b), c,
                                                c_stride, used_columns, accumulate);
  } else if constexpr (kRows > 1) {
    multiply_few_rows<Simd, kRows - 1, kVectors>(steps, a, b, c, c_stride, used_rows, used_columns, accumulate);
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu
