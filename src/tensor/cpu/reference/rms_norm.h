#pragma once

#include <cmath>
#include <cstdint>

/// Root mean square normalization of single rows, as in the paper; see tensor/rms_norm.h.
namespace fledge::tensor::cpu::reference {

/// 1 / sqrt(mean(x^2) + epsilon) of x [columns].
inline double rms_rstd(const double* x, int64_t columns, double epsilon) {
  double squares = 0;
  for (int64_t c = 0; c < columns; ++c) squares += x[c] * x[c];
  return 1 / std::sqrt(squares / static_cast<double>(columns) + epsilon);
}

inline void rms_normalize_row(const double* x, int64_t columns, double rstd, const double* weight, double* out) {
  for (int64_t c = 0; c < columns; ++c) out[c] = x[c] * rstd * weight[c];
}

/// With g = d_out * weight and n = x * rstd: d_x = rstd * (g - n * mean(g * n)) (+ d_residual, which may be null);
/// d_weight += d_out * n, where d_weight is not null.
inline void rms_norm_backward_row(const double* x, int64_t columns, const double* weight, double rstd,
                                  const double* d_out, const double* d_residual, double* d_x, double* d_weight) {
  double mean = 0;
  for (int64_t c = 0; c < columns; ++c) {
    const double n = x[c] * rstd;
    mean += d_out[c] * weight[c] * n / static_cast<double>(columns);
    if (d_weight != nullptr) d_weight[c] += d_out[c] * n;
  }
  for (int64_t c = 0; c < columns; ++c) {
    d_x[c] = rstd * (d_out[c] * weight[c] - x[c] * rstd * mean) + (d_residual != nullptr ? d_residual[c] : 0);
  }
}

}  // namespace fledge::tensor::cpu::reference
