#include "tensor/adamw.h"

#include <cmath>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/adamw.h"
#include "tensor/cpu/reference/adamw.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

cpu::AdamWFactors factors_of(const AdamWOptions& o) {
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correction2 = 1 - std::pow(o.beta2, static_cast<double>(o.step));
  return {.gradient_scale = static_cast<float>(o.gradient_scale),
          .decay = static_cast<float>(1 - o.learning_rate * o.weight_decay),
          .m_rate = static_cast<float>(1 - o.beta1),
          .v_keep = static_cast<float>(o.beta2),
          .v_rate = static_cast<float>(1 - o.beta2),
          .v_root_scale = static_cast<float>(1 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(o.epsilon),
          .step_size = static_cast<float>(o.learning_rate / correction1)};
}

}  // namespace

void adamw(Tensor parameter, const Tensor& gradient, Tensor m, Tensor v, const AdamWOptions& options) {
  if (!parameter) throw base::Error("[adamw] parameter: got {}, expected a tensor", describe(parameter));
  require(parameter, parameter.shape(), {DType::f32, DType::f64}, "[adamw] parameter");
  require(gradient, parameter.shape(), {parameter.dtype()}, "[adamw] gradient");
  require(m, parameter.shape(), {parameter.dtype()}, "[adamw] m");
  require(v, parameter.shape(), {parameter.dtype()}, "[adamw] v");
  if (options.step < 1) throw base::Error("[adamw] got step {}, expected 1 or more", options.step);
  if (is_meta(parameter) || is_meta(gradient) || is_meta(m) || is_meta(v)) return;
  instruction_set();
  const cpu::AdamWFactors factors = factors_of(options);
  constexpr int64_t kGrain = 16384;  // elements that are worth a thread
  base::parallel_for(parameter.elements(), kGrain, [&](int64_t first, int64_t last) {
    if (parameter.dtype() == DType::f64) {
      for (int64_t i = first; i < last; ++i) {
        cpu::reference::adamw(parameter.data<double>()[i], gradient.data<double>()[i], m.data<double>()[i],
                              v.data<double>()[i], options);
      }
    } else {
      cpu::adamw(parameter.data<float>() + first, gradient.data<float>() + first, m.data<float>() + first,
                 v.data<float>() + first, factors, last - first);
    }
  });
}

}  // namespace fledge::tensor
