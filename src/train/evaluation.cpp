#include "train/evaluation.h"

#include <algorithm>

#include "tensor/elementwise.h"
#include "tensor/sum.h"

namespace fledge::train {

EvaluationResult evaluate(models::LanguageModel& model, nn::Memory& memory, const Objective& objective,
                          const EvaluationLoader& loader, int64_t batches, tensor::DType activation_type,
                          tensor::ProcessGroup& processes, const std::function<void(int64_t)>& on_batch) {
  const int64_t count = batches == 0 ? loader.batches() : std::min(batches, loader.batches());
  double loss = 0.0, targets = 0.0;
  Batch batch;
  for (int64_t index = processes.rank(); index < count; index += processes.size()) {
    loader.load(index, memory.activations, batch);
    grad::Graph graph(memory.activations, memory.encodings, activation_type, false);
    loss += tensor::sum(objective.evaluate(graph, model, batch, 1.0).token_losses);
    targets += static_cast<double>(batch.target_tokens);
    if (on_batch) on_batch(index + 1);
  }
  loss = processes.all_reduce_sum(loss);
  targets = processes.all_reduce_sum(targets);
  return {targets > 0.0 ? loss / targets : 0.0, static_cast<int64_t>(targets)};
}

}  // namespace fledge::train
