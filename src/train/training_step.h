#pragma once

#include <memory>
#include <span>
#include <string>

#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/data/batch.h"
#include "train/gradient_exchange.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace fledge::train {

struct StepOptions {
  tensor::DType activation_type = tensor::DType::f32;
  double clip_norm = 1.0;          ///< largest global norm of the gradient; 0: no clipping
  uint64_t seed = 0;               ///< of dropout
  bool recomputes_blocks = false;  ///< see grad::recomputed()
};

struct StepResult {
  double loss = 0.0;           ///< mean over the target tokens of the step
  double gradient_norm = 0.0;  ///< before clipping
  int64_t target_tokens = 0;   ///< over all processes
  int64_t tokens = 0;          ///< that went through the model, over all processes
  Metrics metrics;             ///< what else the objective shows
};

/// One optimizer step over micro-batches: forward and backward of each, the gradient's norm, clipping, the update.
/// Runs on the meta device too, to find out what a step needs.
/// With several processes gradients are summed over them, each updates the parameters whose optimizer state it owns,
/// and all get the updated values.
class TrainingStep {
 public:
  TrainingStep(models::LanguageModel& model, nn::Memory& memory, const Objective& objective, AdamW& optimizer,
               tensor::ProcessGroup& processes, const StepOptions& options);

  /// `first_samples[i]` is the global number of the first row of batches[i]. Throws Error, before anything is changed,
  /// where the loss or a gradient is not finite: the sentence names the step and the tensor.
  StepResult run(int64_t step, std::span<const Batch> batches, std::span<const int64_t> first_samples,
                 double learning_rate);

 private:
  double accumulate_gradients(int64_t step, std::span<const Batch> batches, std::span<const int64_t> first_samples,
                              double scale, Sums& sums);
  double gradient_norm();
  [[noreturn]] void report_not_finite(int64_t step, double loss) const;

  models::LanguageModel& model_;
  nn::Memory& memory_;
  const Objective& objective_;
  AdamW& optimizer_;
  tensor::ProcessGroup& processes_;
  StepOptions options_;
  std::unique_ptr<GradientExchange> exchange_;  ///< with several processes
};

}  // namespace fledge::train
