#include "grad/head_sweep.h"

#include <algorithm>

#include "base/error.h"
#include "grad/adapter_product.h"
#include "tensor/elementwise.h"
#include "tensor/gather.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

// Logits of a block stay in the last-level cache; the gradients of a group bound the memory, and the larger the group,
// the seldomer the weight's gradient is read and written again.
constexpr int64_t kBlockBytes = int64_t{24} << 20;
constexpr int64_t kGroupBytes = int64_t{128} << 20;
constexpr int64_t kSmallestBlock = 64;

int64_t rows_that_fit(int64_t bytes, int64_t row_bytes, int64_t multiple) {
  return std::max(multiple, bytes / std::max<int64_t>(1, row_bytes) / multiple * multiple);
}

/// One sweep over the rows of x.
class Sweep {
 public:
  Sweep(Graph& graph, Parameter& weight, WeightLayout layout, Parameter* bias, bool needs_d_x)
      : graph_(graph), weight_(weight), layout_(layout), bias_(bias), needs_d_x_(needs_d_x) {
    vocabulary_ = weight.shape()[layout == WeightLayout::input_output ? 1 : 0];
    learns_ = graph.recording() && weight.trainable();
    bias_learns_ = graph.recording() && bias != nullptr && bias->trainable();
    adapts_ = !weight.adapters().empty() && !graph.adapters_off();
    const auto learns = [](const auto& adapter) { return adapter->trainable(); };
    const bool adapters_learn = adapts_ && graph.recording() && std::ranges::any_of(weight.adapters(), learns);
    differentiates_ = learns_ || bias_learns_ || needs_d_x || adapters_learn;
    // A weight that changes with every step is packed for this sweep alone.
    if (needs_d_x_ && weight.trainable()) {
      const Tensor transposed = as_input_output(weight.value(), layout).transpose(0, 1);
      tensor::pack(transposed, graph.precision(), transposed_weight_, graph.arena());
    }
  }

  void run(const Tensor& x, Tensor& d_x, const BlockLoss& loss) {
    const int64_t rows = x.dim(0);
    const auto logit_bytes = static_cast<int64_t>(tensor::size_of(graph_.parameter_type())) * vocabulary_;
    const auto gradient_bytes = static_cast<int64_t>(tensor::size_of(graph_.activation_type())) * vocabulary_;
    const int64_t block = std::min(rows, rows_that_fit(kBlockBytes, logit_bytes, kSmallestBlock));
    // What adapters need of a block lives until its gradients are computed: a group of one.
    const int64_t group =
        adapts_ ? block : std::min(rows, rows_that_fit(kGroupBytes, gradient_bytes, std::max<int64_t>(1, block)));
    if (rows == 0) return;
    logits_ = graph_.empty({block, vocabulary_}, graph_.parameter_type());
    if (differentiates_) d_logits_ = graph_.empty_activation({group, vocabulary_});
    for (int64_t first = 0; first < rows; first += group) {
      const int64_t count = std::min(group, rows - first);
      for (int64_t inner = 0; inner < count; inner += block) {
        run_block(x, first + inner, std::min(block, count - inner), inner, loss);
      }
      if (differentiates_) differentiate(x, first, count, d_x);
    }
  }

 private:
  void run_block(const Tensor& x, int64_t row, int64_t count, int64_t in_group, const BlockLoss& loss) {
    Tensor logits = logits_.slice(0, 0, count);
    tensor::Epilogue epilogue;
    if (bias_ != nullptr) epilogue.bias = bias_->value();
    if (adapts_) {
      adapters_ = AdapterProduct::start(graph_, weight_, layout_, x.slice(0, row, count), 0);
      if (adapters_ != nullptr) adapters_->add_to(epilogue, logits.dtype());
    }
    graph_.multiply(x.slice(0, row, count), weight_, layout_, logits, epilogue);
    loss(row, count, logits, differentiates_ ? d_logits_.slice(0, in_group, count) : Tensor());
  }

  void differentiate(const Tensor& x, int64_t first, int64_t count, Tensor& d_x) {
    Tensor d_logits = d_logits_.slice(0, 0, count);
    if (bias_learns_) {
      const bool accumulate = bias_->begin_gradient();
      tensor::column_sum(d_logits, bias_->gradient(), accumulate);
    }
    const Tensor rows = x.slice(0, first, count);
    if (adapters_ != nullptr) d_logits = adapters_->backward(rows, d_logits, true, needs_d_x_);
    if (learns_) {
      const tensor::Epilogue epilogue{.accumulate = weight_.begin_gradient()};
      if (layout_ == WeightLayout::input_output) {
        tensor::matmul(rows.transpose(0, 1), d_logits, graph_.precision(), weight_.gradient(), epilogue);
      } else {
        tensor::matmul(d_logits.transpose(0, 1), rows, graph_.precision(), weight_.gradient(), epilogue);
      }
    }
    if (needs_d_x_) {
      Tensor d_rows = d_x.slice(0, first, count);
      if (adapters_ != nullptr) {
        adapters_->add_input_gradient(d_logits, d_rows);
      } else if (transposed_weight_.bytes) {
        tensor::matmul(d_logits, transposed_weight_, d_rows);
      } else {
        graph_.multiply_transposed(d_logits, weight_, layout_, d_rows);
      }
    }
  }

  Graph& graph_;
  Parameter& weight_;
  WeightLayout layout_;
  Parameter* bias_;
  bool needs_d_x_, learns_ = false, bias_learns_ = false, adapts_ = false, differentiates_ = false;
  std::shared_ptr<AdapterProduct> adapters_;  ///< of the current block; or null
  int64_t vocabulary_ = 0;
  tensor::PackedMatrix transposed_weight_;
  Tensor logits_, d_logits_;
};

}  // namespace

HeadRows rows_with_targets(Graph& graph, const Tensor& x, const Tensor& targets, const Parameter& weight,
                           WeightLayout layout, std::string_view operation) {
  const int64_t width = x.shape()[-1];
  const Tensor all_x = x.reshape({-1, width});
  HeadRows result;
  result.all = all_x.dim(0);
  tensor::require_shape(targets, {result.all}, fmt::format("[{}] targets", operation));
  if (weight.shape()[layout == WeightLayout::input_output ? 0 : 1] != width) {
    throw base::Error("[{}] got x {}, expected [..., C] for {} {}", operation, x.shape().text(), weight.name(),
                      weight.shape().text());
  }
  Tensor numbers = graph.empty({result.all}, tensor::DType::i32);
  Tensor kept_targets = graph.empty({result.all}, tensor::DType::i32);
  const int64_t kept = tensor::compact_targets(targets, numbers, kept_targets);
  result.numbers = numbers.slice(0, 0, kept);
  result.targets = kept_targets.slice(0, 0, kept);
  result.x = same_rows(graph, all_x, result);
  return result;
}

Tensor same_rows(Graph& graph, const Tensor& values, const HeadRows& rows) {
  const int64_t kept = rows.numbers.dim(0);
  if (kept == rows.all) return values;
  Tensor result = graph.empty({kept, values.dim(1)}, values.dtype());
  tensor::gather_rows(values, rows.numbers, result);
  return result;
}

Tensor for_all_rows(Graph& graph, const Tensor& values, const HeadRows& rows) {
  const int64_t kept = rows.numbers.dim(0);
  if (kept == rows.all) return values;
  Tensor result = graph.empty({rows.all, 1}, values.dtype());
  tensor::scatter_rows(values.reshape({kept, 1}), rows.numbers, result);
  return result.reshape({rows.all});
}

Tensor sweep_head(Graph& graph, const HeadRows& rows, Parameter& weight, WeightLayout layout, Parameter* bias,
                  bool needs_d_x, const BlockLoss& loss) {
  Tensor d_x = needs_d_x ? graph.empty_activation(rows.x.shape()) : Tensor();
  Sweep(graph, weight, layout, bias, needs_d_x).run(rows.x, d_x, loss);
  return d_x;
}

Variable record_head_loss(Graph& graph, std::string_view operation, double loss, const Variable& x,
                          const HeadRows& rows, Tensor d_rows, Parameter& weight, Parameter* bias) {
  Tensor value = graph.empty({1}, graph.parameter_type());
  tensor::fill(value, loss);
  Tensor d_x = d_rows;
  if (d_rows && d_rows.dim(0) != rows.all) {
    d_x = graph.empty_activation({rows.all, d_rows.dim(1)});
    tensor::scatter_rows(d_rows, rows.numbers, d_x);
  }
  std::vector<Parameter*> parameters;
  if (weight.trainable()) parameters.push_back(&weight);
  if (bias != nullptr && bias->trainable()) parameters.push_back(bias);
  if (!graph.adapters_off()) {
    for (const auto& adapter : weight.adapters()) {
      const std::vector<Parameter*> own = adapter->trainable_parameters();
      parameters.insert(parameters.end(), own.begin(), own.end());
    }
  }
  Variable result(value, static_cast<bool>(d_x) || (graph.recording() && !parameters.empty()));
  if (result.requires_gradient()) {
    graph.record(operation, std::move(parameters), [&graph, x, result, d_x]() mutable {
      result.take_gradient();
      if (d_x) x.add_gradient(d_x.reshape(x.shape()), graph.arena());
      d_x = Tensor();
    });
  }
  return result;
}

}  // namespace fledge::grad
