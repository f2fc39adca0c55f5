#include "tensor/cpu/column_scale.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/column_scale.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

void column_scale_backward(const void* d_y, DType d_y_dtype, const void* z, DType z_dtype, const float* scale,
                           void* d_z, int64_t first, int64_t last, int64_t columns, float* sums) {
  std::fill(sums, sums + columns, 0.0F);
  with_element(d_y_dtype, [&](auto d_element) HWY_ATTR {
    with_element(z_dtype, [&](auto z_element) HWY_ATTR {
      for (int64_t row = first; row < last; ++row) {
        const auto* arriving = static_cast<const decltype(d_element)*>(d_y) + row * columns;
        const auto* product = static_cast<const decltype(z_element)*>(z) + row * columns;
        auto* leaving = static_cast<decltype(d_element)*>(d_z) + row * columns;
        for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
          const FloatVector d = place.load_from(arriving);
          place.store_to(sums, hn::MulAdd(d, place.load_from(product), place.load_from(sums)));
          place.store_to(leaving, hn::Mul(d, place.load_from(scale)));
        });
      }
    });
  });
}

void multiply(const void* x, DType dtype, const float* factors, void* out, int64_t count) {
  with_element(dtype, [&](auto element) HWY_ATTR {
    const auto* source = static_cast<const decltype(element)*>(x);
    auto* target = static_cast<decltype(element)*>(out);
    for_each_vector(static_cast<size_t>(count), [&](auto place) HWY_ATTR {
      place.store_to(target, hn::Mul(place.load_from(source), place.load_from(factors)));
    });
  });
}

float dot(const void* a, DType a_dtype, const void* b, DType b_dtype, int64_t count) {
  float total = 0;
  with_element(a_dtype, [&](auto a_element) HWY_ATTR {
    with_element(b_dtype, [&](auto b_element) HWY_ATTR {
      const auto* left = static_cast<const decltype(a_element)*>(a);
      const auto* right = static_cast<const decltype(b_element)*>(b);
      const FloatTag d;
      FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
      for_each_vector_by_four(static_cast<size_t>(count), [&](auto place, auto lane) HWY_ATTR {
        sums[lane] = hn::MulAdd(place.load_from(left), place.load_from(right), sums[lane]);
      });
      total = sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
    });
  });
  return total;
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(column_scale_backward);
HWY_EXPORT(multiply);
HWY_EXPORT(dot);
}  // namespace

void column_scale_backward(const void* d_y, DType d_y_dtype, const void* z, DType z_dtype, const float* scale,
                           void* d_z, int64_t first, int64_t last, int64_t columns, float* sums) {
  HWY_DYNAMIC_DISPATCH(column_scale_backward)
  (d_y, d_y_dtype, z, z_dtype, scale, d_z, first, last, columns, sums);
}

void multiply(const void* x, DType dtype, const float* factors, void* out, int64_t count) {
  HWY_DYNAMIC_DISPATCH(multiply)(x, dtype, factors, out, count);
}

float dot(const void* a, DType a_dtype, const void* b, DType b_dtype, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(dot)(a, a_dtype, b, b_dtype, count);
}

}  // namespace fledge::tensor::cpu
#endif
