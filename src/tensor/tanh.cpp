#include "tensor/tanh.h"

#include <cmath>

#include "base/parallel.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

constexpr int64_t kGrain = 4096;

/// The type in which T is computed.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Calls function(i, T) for every element, T a value of the element type.
template <typename Function>
void for_each(const Tensor& t, const Function& function) {
  const auto run = [&]<typename T>(T type) {
    base::parallel_for(t.elements(), kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) function(i, type);
    });
  };
  if (t.dtype() == DType::f64) return run(double{});
  if (t.dtype() == DType::f32) return run(float{});
  run(bf16{});
}

}  // namespace

void tanh(const Tensor& x, Tensor out) {
  require(x, x.shape(), {DType::f64, DType::f32, DType::bf16}, "[tanh] x");
  require(out, x.shape(), {x.dtype()}, "[tanh] out");
  if (is_meta(x) || is_meta(out)) return;
  for_each(
      x, [&]<typename T>(int64_t i, T) { out.data<T>()[i] = convert<T>(std::tanh(convert<Wide<T>>(x.data<T>()[i]))); });
}

void tanh_backward(const Tensor& out, const Tensor& d_out, Tensor d_x) {
  require(out, out.shape(), {DType::f64, DType::f32, DType::bf16}, "[tanh_backward] out");
  require(d_out, out.shape(), {out.dtype()}, "[tanh_backward] d_out");
  require(d_x, out.shape(), {out.dtype()}, "[tanh_backward] d_x");
  if (is_meta(out) || is_meta(d_x)) return;
  for_each(out, [&]<typename T>(int64_t i, T) {
    const auto y = convert<Wide<T>>(out.data<T>()[i]);
    d_x.data<T>()[i] = convert<T>(convert<Wide<T>>(d_out.data<T>()[i]) * (1 - y * y));
  });
}

}  // namespace fledge::tensor
