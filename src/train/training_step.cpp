#include "train/training_step.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tensor/elementwise.h"
#include "tensor/sum.h"
#include "train/evaluation.h"
#include "train/run_setup.h"

namespace fledge::train {
namespace {

// PyTorch's clip_grad_norm_ divides by the norm plus this.
constexpr double kClipEpsilon = 1e-6;

}  // namespace

TrainingStep::TrainingStep(models::LanguageModel& model, nn::Memory& memory, const Objective& objective,
                           AdamW& optimizer, tensor::ProcessGroup& processes, const StepOptions& options)
    : model_(model),
      memory_(memory),
      objective_(objective),
      optimizer_(optimizer),
      processes_(processes),
      options_(options) {
  if (processes.size() > 1) exchange_ = std::make_unique<GradientExchange>(model.parameters(), processes);
}

double TrainingStep::accumulate_gradients(int64_t step, std::span<const Batch> batches,
                                          std::span<const int64_t> first_samples, double scale, Sums& sums) {
  double loss = 0.0;
  for (size_t index = 0; index < batches.size(); ++index) {
    grad::Graph graph(memory_.activations, memory_.encodings, options_.activation_type, true);
    graph.set_recomputes_blocks(options_.recomputes_blocks);
    graph.set_random_state({options_.seed, static_cast<uint64_t>(step), static_cast<uint64_t>(first_samples[index])});
    ObjectiveResult result = objective_.evaluate(graph, model_, batches[index], scale);
    loss += scale * tensor::sum(result.token_losses);
    add_sums(sums, result.sums);
    if (exchange_ && index + 1 == batches.size()) exchange_->watch(graph);
    graph.backward(result.loss);
  }
  return loss;
}

double TrainingStep::gradient_norm() {
  for (const auto& entry : model_.parameters().entries()) {
    if (entry.parameter->trainable() && !entry.parameter->has_gradient()) {
      tensor::fill(entry.parameter->gradient(), 0.0);
    }
  }
  const tensor::Tensor& all = model_.parameters().flat_gradients();
  if (!exchange_) return std::sqrt(tensor::sum_of_squares(all));
  // Each process adds the squares of its share, and all see the same sum.
  const int64_t begin = optimizer_.begin();
  return std::sqrt(processes_.all_reduce_sum(tensor::sum_of_squares(all.slice(0, begin, optimizer_.end() - begin))));
}

StepResult TrainingStep::run(int64_t step, std::span<const Batch> batches, std::span<const int64_t> first_samples,
                             double learning_rate) {
  StepResult result;
  double targets = 0.0, tokens = 0.0;
  for (const Batch& batch : batches) {
    targets += static_cast<double>(batch.target_tokens);
    if (batch.has("ids")) tokens += static_cast<double>(batch.at("ids").elements());
  }
  targets = processes_.all_reduce_sum(targets);
  result.tokens = static_cast<int64_t>(processes_.all_reduce_sum(tokens));
  if (targets == 0.0) throw base::Error("step {}: the batch has no target tokens", step);
  result.target_tokens = static_cast<int64_t>(targets);

  model_.parameters().forget_gradients();
  Sums sums;
  const double own_loss = accumulate_gradients(step, batches, first_samples, 1.0 / targets, sums);
  if (exchange_) exchange_->finish();
  result.loss = processes_.all_reduce_sum(own_loss);
  result.metrics = objective_.report(all_sums(sums, processes_));
  result.gradient_norm = gradient_norm();
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) report_not_finite(step, result.loss);
  double clip = 1.0;
  if (options_.clip_norm > 0.0) clip = std::min(1.0, options_.clip_norm / (result.gradient_norm + kClipEpsilon));
  optimizer_.step(learning_rate, clip);
  if (exchange_) {
    nn::ParameterSet& parameters = model_.parameters();
    processes_.all_gather(parameters.flat_values(), all_shard_bounds(parameters.flat_size(), processes_.size()));
  }
  return result;
}

void TrainingStep::report_not_finite(int64_t step, double loss) const {
  for (const auto& entry : model_.parameters().entries()) {
    const tensor::Tensor& value = entry.parameter->value();
    if (value && value.is_contiguous() && !tensor::all_finite(value)) {
      throw base::Error("step {}: the parameter {} is not finite, so the loss is {}", step, entry.parameter->name(),
                        loss);
    }
  }
  for (const auto& entry : model_.parameters().entries()) {
    if (entry.parameter->trainable() && !tensor::all_finite(entry.parameter->gradient())) {
      throw base::Error("step {}: the gradient of {} is not finite (loss {})", step, entry.parameter->name(), loss);
    }
  }
  throw base::Error("step {}: the loss is {}", step, loss);
}

}  // namespace fledge::train
