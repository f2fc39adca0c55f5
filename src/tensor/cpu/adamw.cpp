#include "tensor/cpu/adamw.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/adamw.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

void adamw(float* parameter, const float* gradient, float* m, float* v, const AdamWFactors& f, int64_t count) {
  const FloatTag d;
  const auto gradient_scale = hn::Set(d, f.gradient_scale), decay = hn::Set(d, f.decay);
  const auto m_rate = hn::Set(d, f.m_rate), v_keep = hn::Set(d, f.v_keep), v_rate = hn::Set(d, f.v_rate);
  const auto v_root_scale = hn::Set(d, f.v_root_scale), epsilon = hn::Set(d, f.epsilon);
  const auto step_size = hn::Set(d, f.step_size);
  for_each_vector(static_cast<size_t>(count), [&](auto place) HWY_ATTR {
    const auto g = hn::Mul(place.load_from(gradient), gradient_scale);
    auto mean = place.load_from(m);
    mean = hn::MulAdd(hn::Sub(g, mean), m_rate, mean);
    const auto square = hn::MulAdd(hn::Mul(g, g), v_rate, hn::Mul(place.load_from(v), v_keep));
    const auto denominator = hn::MulAdd(hn::Sqrt(square), v_root_scale, epsilon);
    const auto decayed = hn::Mul(place.load_from(parameter), decay);
    place.store_to(m, mean);
    place.store_to(v, square);
    place.store_to(parameter, hn::NegMulAdd(step_size, hn::Div(mean, denominator), decayed));
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(adamw);
}  // namespace

void adamw(float* parameter, const float* gradient, float* m, float* v, const AdamWFactors& factors, int64_t count) {
  HWY_DYNAMIC_DISPATCH(adamw)(parameter, gradient, m, v, factors, count);
}

}  // namespace fledge::tensor::cpu
#endif
