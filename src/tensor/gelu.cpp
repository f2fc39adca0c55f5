#include "tensor/gelu.h"

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/gelu.h"
#include "tensor/cpu/reference/gelu.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

constexpr int64_t kGrain = 8192;  // elements that are worth a thread

void check(const Tensor& x, Activation form, std::string_view name) {
  if (!x) throw base::Error("[{}] x: got {}, expected a tensor", name, describe(x));
  require(x, x.shape(), {DType::f32, DType::bf16, DType::f64}, fmt::format("[{}] x", name));
  if (form == Activation::none) throw base::Error("[{}] got no activation, expected gelu_exact or gelu_tanh", name);
}

std::byte* address(const Tensor& t, int64_t element) {
  return t ? t.raw() + element * static_cast<int64_t>(size_of(t.dtype())) : nullptr;
}

}  // namespace

void gelu(const Tensor& x, Activation form, Tensor out) {
  check(x, form, "gelu");
  require(out, x.shape(), {x.dtype()}, "[gelu] out");
  if (is_meta(x) || is_meta(out)) return;
  instruction_set();
  base::parallel_for(x.elements(), kGrain, [&](int64_t first, int64_t last) {
    if (x.dtype() != DType::f64)
      return cpu::gelu(address(x, first), x.dtype(), form, address(out, first), last - first);
    const auto function = form == Activation::gelu_exact ? cpu::reference::gelu_exact : cpu::reference::gelu_tanh;
    for (int64_t i = first; i < last; ++i) out.data<double>()[i] = function(x.data<double>()[i]);
  });
}

void gelu_backward(const Tensor& x, Activation form, const Tensor& d_out, Tensor d_x, Tensor out_again) {
  check(x, form, "gelu_backward");
  require(d_out, x.shape(), {x.dtype()}, "[gelu_backward] d_out");
  require(d_x, x.shape(), {x.dtype()}, "[gelu_backward] d_x");
  require_if_defined(out_again, x.shape(), {x.dtype()}, "[gelu_backward] out_again");
  if (is_meta(x) || is_meta(d_x)) return;
  instruction_set();
  base::parallel_for(x.elements(), kGrain, [&](int64_t first, int64_t last) {
    if (x.dtype() != DType::f64) {
      cpu::gelu_backward(address(x, first), x.dtype(), form, address(d_out, first), address(d_x, first),
                         address(out_again, first), last - first);
      return;
    }
    const bool exact = form == Activation::gelu_exact;
    const auto value = exact ? cpu::reference::gelu_exact : cpu::reference::gelu_tanh;
    const auto slope = exact ? cpu::reference::gelu_exact_derivative : cpu::reference::gelu_tanh_derivative;
    for (int64_t i = first; i < last; ++i) {
      const double input = x.data<double>()[i];
      d_x.data<double>()[i] = d_out.data<double>()[i] * slope(input);
      if (out_again) out_again.data<double>()[i] = value(input);
    }
  });
}

}  // namespace fledge::tensor
