#pragma once

#include <cstdint>

#include "nn/parameter_set.h"

namespace fledge::train {

struct OptimizerOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;    ///< applied to the parameters that decay
  bool bias_correction = true;  ///< of the first steps' moments
};

/// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019) over a range of the flat parameters:
/// the whole of them, or this process's share where the state is sharded (Rajbhandari et al., "ZeRO", 2020, stage 1).
class AdamW {
 public:
  /// Owns flat elements [begin, end).
  AdamW(nn::ParameterSet& parameters, nn::Memory& memory, const OptimizerOptions& options, int64_t begin, int64_t end);

  /// One update of the owned range with the gradients times `gradient_scale`. Parameters that got no gradient stay.
  void step(double learning_rate, double gradient_scale);

  /// Updates made so far; set when a run is resumed.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  int64_t begin() const { return begin_; }
  int64_t end() const { return end_; }
  /// Running means of the gradient and of its square, [end - begin].
  tensor::Tensor& first_moments() { return first_moments_; }
  tensor::Tensor& second_moments() { return second_moments_; }

 private:
  nn::ParameterSet& parameters_;
  OptimizerOptions options_;
  int64_t begin_, end_, steps_ = 0;
  tensor::Tensor first_moments_, second_moments_;
};

}  // namespace fledge::train
