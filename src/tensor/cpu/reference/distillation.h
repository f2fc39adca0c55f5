#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tensor/cpu/reference/cross_entropy.h"

/// The loss of one row of a student's logits beside its teacher's, as defined; see tensor/distillation_loss.h.
namespace fledge::tensor::cpu::reference {

/// log(sum of e^(logits / temperature)).
inline double tempered_log_sum_exp(const double* logits, int64_t columns, double temperature) {
  const double greatest = *std::max_element(logits, logits + columns) / temperature;
  double sum = 0;
  for (int64_t c = 0; c < columns; ++c) sum += std::exp(logits[c] / temperature - greatest);
  return greatest + std::log(sum);
}

/// Sum of p log(p / q) over the softmaxes with temperature of two rows.
inline double divergence(const double* p_logits, const double* q_logits, int64_t columns, double temperature) {
  const double p_normalizer = tempered_log_sum_exp(p_logits, columns, temperature),
               q_normalizer = tempered_log_sum_exp(q_logits, columns, temperature);
  double sum = 0;
  for (int64_t c = 0; c < columns; ++c) {
    const double log_p = p_logits[c] / temperature - p_normalizer, log_q = q_logits[c] / temperature - q_normalizer;
    if (std::exp(log_p) > 0) sum += std::exp(log_p) * (log_p - log_q);
  }
  return sum;
}

}  // namespace fledge::tensor::cpu::reference
