#include "tensor/cpu/gelu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/gelu.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/math-inl.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

void gelu(const void* x, DType dtype, Activation form, void* out, int64_t count) {
  with_element(dtype, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    const FloatTag d;
    const auto* source = static_cast<const A*>(x);
    auto* target = static_cast<A*>(out);
    if (form == Activation::gelu_exact) {
      for_each_vector(static_cast<size_t>(count),
                      [&](auto place) HWY_ATTR { place.store_to(target, gelu_exact(d, place.load_from(source))); });
    } else {
      for_each_vector(static_cast<size_t>(count),
                      [&](auto place) HWY_ATTR { place.store_to(target, gelu_tanh(d, place.load_from(source))); });
    }
  });
}

/// gelu(x) and gelu'(x). The value is computed by the same operations as in the forward pass.
struct ValueAndSlope {
  FloatVector value, slope;
};

HWY_INLINE ValueAndSlope exact_with_slope(FloatVector x) {
  const FloatTag d;
  const auto g = gaussian(d, x);
  return {hn::Mul(x, g.cumulative), hn::MulAdd(x, g.density, g.cumulative)};
}

HWY_INLINE ValueAndSlope tanh_with_slope(FloatVector x) {
  const FloatTag d;
  const auto one = hn::Set(d, 1.0f);
  const auto e = exp(d, hn::Neg(gelu_tanh_argument(d, x)));
  const auto half = hn::Div(one, hn::Add(one, e));  // sigmoid(2 u) = (1 + tanh(u)) / 2
  // 1 - half without cancellation; where e is an infinity, half and the value are 0 and so is their product.
  const auto rest = hn::Mul(half, hn::Min(e, hn::Set(d, 1e30f)));
  const auto value = hn::Mul(x, half);
  // 2 u' = 2 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)
  const auto inner =
      hn::MulAdd(hn::Mul(x, x), hn::Set(d, 6 * 0.7978845608f * 0.044715f), hn::Set(d, 2 * 0.7978845608f));
  const auto bend = hn::Mul(hn::Mul(value, rest), inner);
  return {value, hn::Add(half, bend)};
}

template <typename A, class Function>
HWY_INLINE void backward(const A* x, const A* d_out, A* d_x, A* out_again, size_t count, const Function& function) {
  for_each_vector(count, [&](auto place) HWY_ATTR {
    const ValueAndSlope y = function(place.load_from(x));
    const auto gradient = hn::Mul(place.load_from(d_out), y.slope);
    if (out_again != nullptr) place.store_to(out_again, y.value);
    place.store_to(d_x, gradient);
  });
}

void gelu_backward(const void* x, DType dtype, Activation form, const void* d_out, void* d_x, void* out_again,
                   int64_t count) {
  with_element(dtype, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    const auto* source = static_cast<const A*>(x);
    const auto* incoming = static_cast<const A*>(d_out);
    auto *gradient = static_cast<A*>(d_x), *value = static_cast<A*>(out_again);
    const auto size = static_cast<size_t>(count);
    if (form == Activation::gelu_exact) {
      backward(source, incoming, gradient, value, size, [](auto v) HWY_ATTR { return exact_with_slope(v); });
    } else {
      backward(source, incoming, gradient, value, size, [](auto v) HWY_ATTR { return tanh_with_slope(v); });
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(gelu);
HWY_EXPORT(gelu_backward);
}  // namespace

void gelu(const void* x, DType dtype, Activation form, void* out, int64_t count) {
  HWY_DYNAMIC_DISPATCH(gelu)(x, dtype, form, out, count);
}

void gelu_backward(const void* x, DType dtype, Activation form, const void* d_out, void* d_x, void* out_again,
                   int64_t count) {
  HWY_DYNAMIC_DISPATCH(gelu_backward)(x, dtype, form, d_out, d_x, out_again, count);
}

}  // namespace fledge::tensor::cpu
#endif
