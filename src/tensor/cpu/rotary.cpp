#include "tensor/cpu/rotary.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rotary.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

void rotate_rows(const Rows& x, const float* angles, bool inverse, const Rows& out, int64_t first, int64_t last) {
  const FloatTag d;
  const auto half = static_cast<size_t>(x.columns / 2);
  const auto sign = hn::Set(d, inverse ? -1.0f : 1.0f);
  with_element(x.dtype, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    for (int64_t r = first; r < last; ++r) {
      const float *cosines = angles + r * x.columns, *sines = cosines + half;
      for (int64_t h = 0; h < x.heads; ++h) {
        const A *low = x.at<A>(r, h), *high = low + half;
        A *out_low = out.at<A>(r, h), *out_high = out_low + half;
        for_each_vector(half, [&](auto place) HWY_ATTR {
          const auto c = place.load_from(cosines), s = hn::Mul(sign, place.load_from(sines));
          const auto a = place.load_from(low), b = place.load_from(high);
          place.store_to(out_low, hn::NegMulAdd(b, s, hn::Mul(a, c)));
          place.store_to(out_high, hn::MulAdd(a, s, hn::Mul(b, c)));
        });
      }
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(rotate_rows);
}  // namespace

void rotate_rows(const Rows& x, const float* angles, bool inverse, const Rows& out, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(rotate_rows)(x, angles, inverse, out, first, last);
}

}  // namespace fledge::tensor::cpu
#endif
