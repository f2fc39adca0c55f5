#pragma once

#include <cstdint>

namespace fledge::tensor::cpu {

/// The factors of one step, made in f64 and rounded once.
struct AdamWFactors {
  float gradient_scale;
  float decay;         ///< 1 - learning_rate * weight_decay
  float m_rate;        ///< 1 - beta1
  float v_keep;        ///< beta2
  float v_rate;        ///< 1 - beta2
  float v_root_scale;  ///< 1 / sqrt(1 - beta2^step)
  float epsilon;
  float step_size;  ///< learning_rate / (1 - beta1^step)
};

void adamw(float* parameter, const float* gradient, float* m, float* v, const AdamWFactors& factors, int64_t count);

}  // namespace fledge::tensor::cpu
