#include "train/evaluation.h"

#include <algorithm>

#include "tensor/elementwise.h"
#include "tensor/sum.h"

namespace fledge::train {

Sums all_sums(const Sums& own, tensor::ProcessGroup& processes) {
  Sums all = own;
  for (auto& [name, values] : all) {
    for (double& value : values) value = processes.all_reduce_sum(value);
  }
  return all;
}

EvaluationResult evaluate(models::LanguageModel& model, nn::Memory& memory, const Objective& objective,
                          const BatchSource& source, int64_t rows, int64_t batches, tensor::DType activation_type,
                          tensor::ProcessGroup& processes, const std::function<void(int64_t)>& on_batch) {
  const int64_t all = source.evaluation_batches(rows), count = batches == 0 ? all : std::min(batches, all);
  double loss = 0.0, targets = 0.0;
  Sums sums;
  Batch batch;
  for (int64_t index = processes.rank(); index < count; index += processes.size()) {
    source.load_evaluation(index, rows, memory.activations, batch);
    grad::Graph graph(memory.activations, memory.encodings, activation_type, false);
    const ObjectiveResult result = objective.evaluate(graph, model, batch, 1.0);
    loss += tensor::sum(result.token_losses);
    add_sums(sums, result.sums);
    targets += static_cast<double>(batch.target_tokens);
    if (on_batch) on_batch(index + 1);
  }
  if (sums.empty() && count > 0 && processes.rank() >= count) {
    // A process without a batch of its own still takes part in adding up, with zeros under the same names.
    source.load_evaluation(0, rows, memory.activations, batch);
    grad::Graph graph(memory.activations, memory.encodings, activation_type, false);
    sums = objective.evaluate(graph, model, batch, 1.0).sums;
    for (auto& [name, values] : sums) std::ranges::fill(values, 0.0);
  }
  loss = processes.all_reduce_sum(loss);
  targets = processes.all_reduce_sum(targets);
  const Sums all_of_them = all_sums(sums, processes);
  return {targets > 0.0 ? loss / targets : 0.0, static_cast<int64_t>(targets), objective.report(all_of_them),
          objective.describe(all_of_them)};
}

}  // namespace fledge::train
