#pragma once

#include <functional>

#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/data/batch_source.h"
#include "train/objective.h"

namespace fledge::train {

struct EvaluationResult {
  double loss = 0.0;  ///< mean over the targets
  int64_t target_tokens = 0;
  Metrics metrics;
  std::string description;  ///< see Objective::describe
};

/// Loss over the first `batches` batches of `rows` rows of the validation data (0: all), shared among the processes by
/// index.
/// `on_batch` is called with the number of batches done; it may throw to stop.
EvaluationResult evaluate(models::LanguageModel& model, nn::Memory& memory, const Objective& objective,
                          const BatchSource& source, int64_t rows, int64_t batches, tensor::DType activation_type,
                          tensor::ProcessGroup& processes, const std::function<void(int64_t)>& on_batch = {});

/// The sums of all processes, whose names and lengths agree.
Sums all_sums(const Sums& own, tensor::ProcessGroup& processes);

}  // namespace fledge::train
