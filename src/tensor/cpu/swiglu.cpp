#include "tensor/cpu/swiglu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/swiglu.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/math-inl.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

void swiglu_rows(const Rows& gate, const Rows& up, const Rows& out, int64_t first, int64_t last) {
  const FloatTag d;
  with_element(gate.dtype, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    for (int64_t r = first; r < last; ++r) {
      const A *gates = gate.at<A>(r, 0), *ups = up.at<A>(r, 0);
      A* target = out.at<A>(r, 0);
      for_each_vector(static_cast<size_t>(gate.columns), [&](auto place) HWY_ATTR {
        const auto g = place.load_from(gates);
        place.store_to(target, hn::Mul(hn::Mul(g, sigmoid(d, g)), place.load_from(ups)));
      });
    }
  });
}

void swiglu_backward_rows(const Rows& gate, const Rows& up, const Rows& d_out, const Rows& d_gate, const Rows& d_up,
                          int64_t first, int64_t last) {
  const FloatTag d;
  const auto one = hn::Set(d, 1.0f);
  with_element(gate.dtype, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    for (int64_t r = first; r < last; ++r) {
      const A *gates = gate.at<A>(r, 0), *ups = up.at<A>(r, 0), *incoming = d_out.at<A>(r, 0);
      A *gate_gradient = d_gate.at<A>(r, 0), *up_gradient = d_up.at<A>(r, 0);
      for_each_vector(static_cast<size_t>(gate.columns), [&](auto place) HWY_ATTR {
        const auto g = place.load_from(gates), arriving = place.load_from(incoming), u = place.load_from(ups);
        const auto e = exp(d, hn::Neg(g));
        const auto s = hn::Div(one, hn::Add(one, e));
        // 1 - s without cancellation; where e is an infinity, s is 0 and so are the products.
        const auto rest = hn::Mul(s, hn::Min(e, hn::Set(d, 1e30f)));
        const auto silu = hn::Mul(g, s);
        place.store_to(up_gradient, hn::Mul(arriving, silu));
        place.store_to(gate_gradient, hn::Mul(hn::Mul(arriving, u), hn::MulAdd(silu, rest, s)));
      });
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(swiglu_rows);
HWY_EXPORT(swiglu_backward_rows);
}  // namespace

void swiglu_rows(const Rows& gate, const Rows& up, const Rows& out, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(swiglu_rows)(gate, up, out, first, last);
}

void swiglu_backward_rows(const Rows& gate, const Rows& up, const Rows& d_out, const Rows& d_gate, const Rows& d_up,
                          int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(swiglu_backward_rows)(gate, up, d_out, d_gate, d_up, first, last);
}

}  // namespace fledge::tensor::cpu
#endif
