#include "grad/linear_cross_entropy.h"

#include <algorithm>

#include "base/error.h"
#include "tensor/cross_entropy.h"
#include "tensor/elementwise.h"
#include "tensor/gather.h"
#include "tensor/sum.h"

namespace fledge::grad {
namespace {

using tensor::Shape;
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
  Sweep(Graph& graph, Parameter& weight, WeightLayout layout, Parameter* bias, double scale, bool needs_d_x)
      : graph_(graph), weight_(weight), layout_(layout), bias_(bias), scale_(scale), needs_d_x_(needs_d_x) {
    vocabulary_ = weight.shape()[layout == WeightLayout::input_output ? 1 : 0];
    learns_ = graph.recording() && weight.trainable();
    bias_learns_ = graph.recording() && bias != nullptr && bias->trainable();
    differentiates_ = learns_ || bias_learns_ || needs_d_x;
    if (needs_d_x_) {
      const Tensor value = weight.wide_value(graph.parameter_type(), graph.arena());
      const Tensor transposed = as_input_output(value, layout).transpose(0, 1);
      tensor::pack(transposed, graph.precision(), transposed_weight_, graph.arena());
    }
  }

  /// losses [n]; d_x [n, C] or undefined.
  void run(const Tensor& x, const Tensor& targets, Tensor& losses, Tensor& d_x) {
    const int64_t rows = x.dim(0);
    const auto logit_bytes = static_cast<int64_t>(tensor::size_of(graph_.parameter_type())) * vocabulary_;
    const auto gradient_bytes = static_cast<int64_t>(tensor::size_of(graph_.activation_type())) * vocabulary_;
    const int64_t block = std::min(rows, rows_that_fit(kBlockBytes, logit_bytes, kSmallestBlock));
    const int64_t group = std::min(rows, rows_that_fit(kGroupBytes, gradient_bytes, std::max<int64_t>(1, block)));
    if (rows == 0) return;
    logits_ = graph_.empty({block, vocabulary_}, graph_.parameter_type());
    if (differentiates_) d_logits_ = graph_.empty_activation({group, vocabulary_});
    for (int64_t first = 0; first < rows; first += group) {
      const int64_t count = std::min(group, rows - first);
      for (int64_t inner = 0; inner < count; inner += block) {
        run_block(x, targets, losses, first + inner, std::min(block, count - inner), inner);
      }
      if (differentiates_) differentiate(x, first, count, d_x);
    }
  }

 private:
  void run_block(const Tensor& x, const Tensor& targets, Tensor& losses, int64_t row, int64_t count, int64_t in_group) {
    Tensor logits = logits_.slice(0, 0, count);
    tensor::Epilogue epilogue;
    if (bias_ != nullptr) epilogue.bias = bias_->value();
    graph_.multiply(x.slice(0, row, count), weight_, layout_, logits, epilogue);
    Tensor block_losses = losses.slice(0, row, count);
    Tensor d_logits = differentiates_ ? d_logits_.slice(0, in_group, count) : Tensor();
    tensor::cross_entropy(logits, targets.slice(0, row, count), block_losses, scale_, d_logits);
  }

  void differentiate(const Tensor& x, int64_t first, int64_t count, Tensor& d_x) {
    const Tensor d_logits = d_logits_.slice(0, 0, count);
    if (bias_learns_) {
      const bool accumulate = bias_->begin_gradient();
      tensor::column_sum(d_logits, bias_->gradient(), accumulate);
    }
    if (learns_) {
      const Tensor rows = x.slice(0, first, count);
      const tensor::Epilogue epilogue{.accumulate = weight_.begin_gradient()};
      if (layout_ == WeightLayout::input_output) {
        tensor::matmul(rows.transpose(0, 1), d_logits, graph_.precision(), weight_.gradient(), epilogue);
      } else {
        tensor::matmul(d_logits.transpose(0, 1), rows, graph_.precision(), weight_.gradient(), epilogue);
      }
    }
    if (needs_d_x_) {
      Tensor d_rows = d_x.slice(0, first, count);
      tensor::matmul(d_logits, transposed_weight_, d_rows);
    }
  }

  Graph& graph_;
  Parameter& weight_;
  WeightLayout layout_;
  Parameter* bias_;
  double scale_;
  bool needs_d_x_, learns_ = false, bias_learns_ = false, differentiates_ = false;
  int64_t vocabulary_ = 0;
  tensor::PackedMatrix transposed_weight_;
  Tensor logits_, d_logits_;
};

}  // namespace

HeadLoss linear_cross_entropy(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                              const Tensor& targets, double scale, Parameter* bias) {
  const int64_t width = x.shape()[-1];
  const Tensor all_x = x.value().reshape({-1, width});
  const int64_t rows = all_x.dim(0);
  tensor::require_shape(targets, {rows}, "[linear_cross_entropy] targets");
  if (weight.shape()[layout == WeightLayout::input_output ? 0 : 1] != width) {
    throw base::Error("[linear_cross_entropy] got x {}, expected [..., C] for {} {}", x.shape().text(), weight.name(),
                      weight.shape().text());
  }
  Tensor kept_rows = graph.empty({rows}, tensor::DType::i32);
  Tensor kept_targets = graph.empty({rows}, tensor::DType::i32);
  const int64_t kept = tensor::compact_targets(targets, kept_rows, kept_targets);
  kept_rows = kept_rows.slice(0, 0, kept);
  Tensor kept_x = all_x;
  if (kept != rows) {
    kept_x = graph.empty_activation({kept, width});
    tensor::gather_rows(all_x, kept_rows, kept_x);
  }

  const bool needs_d_x = graph.recording() && x.requires_gradient();
  Tensor losses = graph.empty({kept}, graph.parameter_type());
  Tensor d_kept = needs_d_x ? graph.empty_activation({kept, width}) : Tensor();
  Sweep(graph, weight, layout, bias, scale, needs_d_x).run(kept_x, kept_targets.slice(0, 0, kept), losses, d_kept);

  Tensor loss = graph.empty({1}, graph.parameter_type());
  tensor::fill(loss, scale * tensor::sum(losses));
  Tensor d_x = d_kept;
  if (kept != rows) {
    Tensor all_losses = graph.empty({rows, 1}, graph.parameter_type());
    tensor::scatter_rows(losses.reshape({kept, 1}), kept_rows, all_losses);
    losses = all_losses.reshape({rows});
    if (needs_d_x) {
      d_x = graph.empty_activation({rows, width});
      tensor::scatter_rows(d_kept, kept_rows, d_x);
    }
  }
  std::vector<Parameter*> parameters;
  if (weight.trainable()) parameters.push_back(&weight);
  if (bias != nullptr && bias->trainable()) parameters.push_back(bias);
  Variable result(loss, needs_d_x || (graph.recording() && !parameters.empty()));
  if (result.requires_gradient()) {
    graph.record("linear_cross_entropy", std::move(parameters), [&graph, x, result, d_x]() mutable {
      result.take_gradient();
      if (d_x) x.add_gradient(d_x.reshape(x.shape()), graph.arena());
      d_x = Tensor();
    });
  }
  return {result, losses};
}

}  // namespace fledge::grad
