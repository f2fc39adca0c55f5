#pragma once

#include <cmath>
#include <cstdint>

/// Layer normalization of single rows, as in the paper; see tensor/norm.h.
namespace fledge::tensor::cpu::reference {

/// Mean and 1 / sqrt(population variance + epsilon) of x [columns].
template <typename T>
void row_statistics(const T* x, int64_t columns, double epsilon, T* mean, T* rstd) {
  T sum = 0;
  for (int64_t c = 0; c < columns; ++c) sum += x[c];
  *mean = sum / static_cast<T>(columns);
  T squares = 0;
  for (int64_t c = 0; c < columns; ++c) squares += (x[c] - *mean) * (x[c] - *mean);
  *rstd = 1 / std::sqrt(squares / static_cast<T>(columns) + static_cast<T>(epsilon));
}

/// bias may be null.
template <typename T>
void normalize_row(const T* x, int64_t columns, T mean, T rstd, const T* weight, const T* bias, T* out) {
  for (int64_t c = 0; c < columns; ++c) {
    out[c] = (x[c] - mean) * rstd * weight[c] + (bias != nullptr ? bias[c] : 0);
  }
}

/// With g = d_out * weight and n = (x - mean) * rstd:
///   d_x = rstd * (g - mean(g) - n * mean(g * n)) (+ d_residual, which may be null).
template <typename T>
void layer_norm_backward_row(const T* x, int64_t columns, const T* weight, T mean, T rstd, const T* d_out,
                             const T* d_residual, T* d_x) {
  T mean_g = 0, mean_gn = 0;
  for (int64_t c = 0; c < columns; ++c) {
    const T g = d_out[c] * weight[c];
    mean_g += g / static_cast<T>(columns);
    mean_gn += g * (x[c] - mean) * rstd / static_cast<T>(columns);
  }
  for (int64_t c = 0; c < columns; ++c) {
    const T n = (x[c] - mean) * rstd;
    d_x[c] = rstd * (d_out[c] * weight[c] - mean_g - n * mean_gn) + (d_residual != nullptr ? d_residual[c] : 0);
  }
}

/// d_weight += d_out * n, d_bias += d_out; either may be null.
template <typename T>
void layer_norm_backward_parameters(const T* x, int64_t columns, T mean, T rstd, const T* d_out, T* d_weight,
                                    T* d_bias) {
  for (int64_t c = 0; c < columns; ++c) {
    if (d_weight != nullptr) d_weight[c] += d_out[c] * (x[c] - mean) * rstd;
    if (d_bias != nullptr) d_bias[c] += d_out[c];
  }
}

}  // namespace fledge::tensor::cpu::reference
