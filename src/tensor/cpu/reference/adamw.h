#pragma once

#include <cmath>

#include "tensor/adamw.h"

namespace fledge::tensor::cpu::reference {

/// One element of AdamW, line by line as in tensor/adamw.h.
inline void adamw(double& parameter, double gradient, double& m, double& v, const AdamWOptions& o) {
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correction2 = 1 - std::pow(o.beta2, static_cast<double>(o.step));
  gradient *= o.gradient_scale;
  parameter *= 1 - o.learning_rate * o.weight_decay;
  m += (1 - o.beta1) * (gradient - m);
  v = o.beta2 * v + (1 - o.beta2) * gradient * gradient;
  parameter -= o.learning_rate / correction1 * m / (std::sqrt(v) / std::sqrt(correction2) + o.epsilon);
}

}  // namespace fledge::tensor::cpu::reference
