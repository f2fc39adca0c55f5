#include "train/optimizer.h"

#include <algorithm>

#include "tensor/adamw.h"

namespace fledge::train {
namespace {

// A step at which the correction of the moments has long become 1.
constexpr int64_t kLateStep = int64_t{1} << 40;

}  // namespace

AdamW::AdamW(nn::ParameterSet& parameters, nn::Memory& memory, const OptimizerOptions& options, int64_t begin,
             int64_t end)
    : parameters_(parameters), options_(options), begin_(begin), end_(end) {
  const tensor::DType type = parameters.flat_values().dtype();
  first_moments_ = tensor::Tensor::zeros({end - begin}, type, memory.optimizer);
  second_moments_ = tensor::Tensor::zeros({end - begin}, type, memory.optimizer);
}

void AdamW::step(double learning_rate, double gradient_scale) {
  ++steps_;
  tensor::AdamWOptions update{.learning_rate = learning_rate,
                              .beta1 = options_.beta1,
                              .beta2 = options_.beta2,
                              .epsilon = options_.epsilon,
                              .weight_decay = 0.0,
                              .step = options_.bias_correction ? steps_ : kLateStep,
                              .gradient_scale = gradient_scale};
  for (const auto& entry : parameters_.entries()) {
    const int64_t first = std::max(entry.offset, begin_);
    const int64_t last = std::min(entry.offset + entry.parameter->shape().elements(), end_);
    if (first >= last || !entry.parameter->has_gradient()) continue;
    update.weight_decay = entry.options.decays ? options_.weight_decay : 0.0;
    tensor::adamw(parameters_.flat_values().slice(0, first, last - first),
                  parameters_.flat_gradients().slice(0, first, last - first),
                  first_moments_.slice(0, first - begin_, last - first),
                  second_moments_.slice(0, first - begin_, last - first), update);
  }
  parameters_.values_changed();
}

}  // namespace fledge::train
