#include "tensor/cpu/low_rank.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/low_rank.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {
namespace {

/// The matrices are read once, from memory, and the processor's own prefetcher stops at every page.
constexpr int64_t kAheadBytes = 4096;

template <typename T>
HWY_INLINE void ask_ahead(const T* place) {
  hwy::Prefetch(reinterpret_cast<const char*>(place) + kAheadBytes);
}

template <int kRows, typename X, typename W>
void multiply_down(const X* x, int64_t x_stride, int64_t inputs, const W* down, int64_t rank, float* inner) {
  const FloatTag d;
  for (int64_t r = 0; r < rank; ++r) {
    const W* weights = down + r * inputs;
    FloatVector sums[kRows][4];
    for (auto& row : sums) {
      for (FloatVector& sum : row) sum = hn::Zero(d);
    }
    for_each_vector_by_four(static_cast<size_t>(inputs), [&](auto place, auto lane) HWY_ATTR {
      ask_ahead(weights + place.at);
      const FloatVector weight = place.load_from(weights);
      for (int row = 0; row < kRows; ++row) {
        sums[row][lane] = hn::MulAdd(place.load_from(x + row * x_stride), weight, sums[row][lane]);
      }
    });
    for (int row = 0; row < kRows; ++row) {
      const FloatVector* own = sums[row];
      inner[row * rank + r] = sum_of_lanes(hn::Add(hn::Add(own[0], own[1]), hn::Add(own[2], own[3])));
    }
  }
}

/// One block of U, whose first `outputs` columns count.
template <int kRows, typename W>
void multiply_block(const float* inner, int64_t inner_stride, int64_t rank, const W* up, int64_t outputs, float* out,
                    int64_t out_stride) {
  const FloatTag d;
  for_each_vector(static_cast<size_t>(outputs), [&](auto place) HWY_ATTR {
    FloatVector sums[kRows];
    for (FloatVector& sum : sums) sum = hn::Zero(d);
    for (int64_t r = 0; r < rank; ++r) {
      const W* weights = up + r * kLowRankBlock;
      ask_ahead(weights + place.at);
      const FloatVector weight = place.load_from(weights);
      for (int row = 0; row < kRows; ++row) {
        sums[row] = hn::MulAdd(hn::Set(d, inner[row * inner_stride + r]), weight, sums[row]);
      }
    }
    for (int row = 0; row < kRows; ++row) place.store_to(out + row * out_stride, sums[row]);
  });
}

/// Calls body() with the number of rows as a constant.
template <class Body>
HWY_INLINE void with_rows(int64_t rows, const Body& body) {
  static_assert(kLowRankRows == 4);
  switch (rows) {
    case 1:
      return body(std::integral_constant<int, 1>());
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    default:
      return body(std::integral_constant<int, 4>());
  }
}

}  // namespace

void low_rank_down(const void* x, DType x_dtype, int64_t x_stride, int64_t rows, int64_t inputs, const void* down,
                   DType down_dtype, int64_t rank, float* inner) {
  with_element(x_dtype, [&](auto x_element) HWY_ATTR {
    with_element(down_dtype, [&](auto element) HWY_ATTR {
      with_rows(rows, [&](auto count) HWY_ATTR {
        multiply_down<count>(static_cast<const decltype(x_element)*>(x), x_stride, inputs,
                             static_cast<const decltype(element)*>(down), rank, inner);
      });
    });
  });
}

void low_rank_up(const float* inner, int64_t inner_stride, int64_t rows, int64_t rank, const void* up, DType up_dtype,
                 int64_t outputs, float* out, int64_t out_stride) {
  with_element(up_dtype, [&](auto element) HWY_ATTR {
    const auto* block = static_cast<const decltype(element)*>(up);
    for (int64_t first = 0; first < outputs; first += kLowRankBlock, block += rank * kLowRankBlock) {
      with_rows(rows, [&](auto count) HWY_ATTR {
        multiply_block<count>(inner, inner_stride, rank, block, std::min(kLowRankBlock, outputs - first), out + first,
                              out_stride);
      });
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(low_rank_down);
HWY_EXPORT(low_rank_up);
}  // namespace

void low_rank_down(const void* x, DType x_dtype, int64_t x_stride, int64_t rows, int64_t inputs, const void* down,
                   DType down_dtype, int64_t rank, float* inner) {
  HWY_DYNAMIC_DISPATCH(low_rank_down)(x, x_dtype, x_stride, rows, inputs, down, down_dtype, rank, inner);
}

void low_rank_up(const float* inner, int64_t inner_stride, int64_t rows, int64_t rank, const void* up, DType up_dtype,
                 int64_t outputs, float* out, int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(low_rank_up)(inner, inner_stride, rows, rank, up, up_dtype, outputs, out, out_stride);
}

}  // namespace fledge::tensor::cpu
#endif
