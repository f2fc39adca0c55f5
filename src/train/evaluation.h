#pragma once

#include <functional>

#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/data/loader.h"
#include "train/objective.h"

namespace fledge::train {

struct EvaluationResult {
  double loss = 0.0;  ///< mean over the target tokens, nats
  int64_t target_tokens = 0;
};

/// Loss over the first `batches` batches of a loader (0: all), shared among the processes by index.
/// `on_batch` is called with the number of batches done; it may throw to stop.
EvaluationResult evaluate(models::LanguageModel& model, nn::Memory& memory, const Objective& objective,
                          const EvaluationLoader& loader, int64_t batches, tensor::DType activation_type,
                          tensor::ProcessGroup& processes, const std::function<void(int64_t)>& on_batch = {});

}  // namespace fledge::train
