#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

/// Softmax and cross-entropy of one row of logits, as defined; see tensor/cross_entropy.h.
namespace fledge::tensor::cpu::reference {

/// log(sum of e^logits), shifted by the greatest logit so that nothing overflows.
inline double log_sum_exp(const double* logits, int64_t columns) {
  const double greatest = *std::max_element(logits, logits + columns);
  double sum = 0;
  for (int64_t c = 0; c < columns; ++c) sum += std::exp(logits[c] - greatest);
  return greatest + std::log(sum);
}

/// d_logits = (softmax(logits) - onehot(target)) * scale; d_logits may be logits.
inline void cross_entropy_gradient(const double* logits, int64_t columns, int64_t target, double scale,
                                   double* d_logits) {
  const double normalizer = log_sum_exp(logits, columns);
  for (int64_t c = 0; c < columns; ++c) {
    d_logits[c] = (std::exp(logits[c] - normalizer) - (c == target ? 1 : 0)) * scale;
  }
}

}  // namespace fledge::tensor::cpu::reference
