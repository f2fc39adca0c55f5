#pragma once

#include <cmath>

/// GELU of one element, as defined; see tensor/gelu.h.
namespace fledge::tensor::cpu::reference {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;

/// x Phi(x), Phi(x) = erfc(-x / sqrt(2)) / 2.
inline double gelu_exact(double x) {
  return 0.5 * x * std::erfc(-x * kSqrtHalf);
}

/// Phi(x) + x Phi'(x).
inline double gelu_exact_derivative(double x) {
  return 0.5 * std::erfc(-x * kSqrtHalf) + x * 0.5 * kSqrtTwoOverPi * std::exp(-0.5 * x * x);
}

/// x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3), written with the logistic function of 2 u, which keeps its
/// digits where tanh(u) is near -1.
inline double gelu_tanh(double x) {
  const double u = kSqrtTwoOverPi * (x + kCubic * x * x * x);
  return x / (1 + std::exp(-2 * u));
}

inline double gelu_tanh_derivative(double x) {
  const double u = kSqrtTwoOverPi * (x + kCubic * x * x * x);
  const double half = 1 / (1 + std::exp(-2 * u));  // (1 + tanh(u)) / 2
  return half + x * 2 * half * (1 - half) * kSqrtTwoOverPi * (1 + 3 * kCubic * x * x);
}

}  // namespace fledge::tensor::cpu::reference
