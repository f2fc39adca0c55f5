#pragma once

#include <cmath>

/// SwiGLU of one element, as defined; see tensor/swiglu.h.
namespace fledge::tensor::cpu::reference {

inline double silu(double x) {
  return x / (1 + std::exp(-x));
}

/// s + x s (1 - s), s = 1 / (1 + e^-x).
inline double silu_derivative(double x) {
  const double s = 1 / (1 + std::exp(-x));
  return s + x * s / (1 + std::exp(x));
}

}  // namespace fledge::tensor::cpu::reference
