#include "grad/layer_norm.h"

#include "base/error.h"
#include "tensor/norm.h"

namespace fledge::grad {
namespace {

using tensor::Shape;
using tensor::Tensor;

Tensor as_rows(const Tensor& value) {
  return value.reshape({-1, value.dim(-1)});
}

struct LayerNormRecord {
  Variable x, y;
  Parameter& weight;
  Parameter* bias;
  Tensor mean, rstd;
};

void backward(Graph& graph, LayerNormRecord& op) {
  Tensor d_y = op.y.take_gradient();
  if (!d_y) return;
  // What already flows to x past this operation (the residual branch) is added in the same pass over memory.
  Tensor past = op.x.take_gradient();
  op.x.take_rounded_gradient();
  Tensor d_x = past && past.is_sole_owner() ? past : graph.empty(op.x.shape(), graph.parameter_type());
  const bool narrow = d_y.dtype() != graph.parameter_type();
  Tensor rounded = narrow ? graph.empty_activation(op.x.shape()) : Tensor();
  Tensor d_x_rows = as_rows(d_x);
  Tensor rounded_rows = rounded ? as_rows(rounded) : Tensor();
  Tensor d_weight = op.weight.trainable() ? op.weight.gradient_to_add_to() : Tensor();
  Tensor d_bias = op.bias != nullptr && op.bias->trainable() ? op.bias->gradient_to_add_to() : Tensor();
  tensor::layer_norm_backward(as_rows(op.x.value()), op.weight.value(), op.mean, op.rstd, as_rows(d_y),
                              past ? as_rows(past) : Tensor(), d_x_rows, rounded_rows, d_weight, d_bias);
  past = Tensor();
  op.x.add_gradient(std::move(d_x), graph.arena(), std::move(rounded));
}

}  // namespace

Variable layer_norm(Graph& graph, const Variable& x, Parameter& weight, Parameter* bias, double epsilon, bool wide) {
  const Tensor& input = x.value();
  const int64_t rows = input.dim(-1) == 0 ? 0 : input.elements() / input.dim(-1);
  if (weight.shape() != Shape{input.dim(-1)}) {
    throw base::Error("[layer_norm] got x {}, expected [..., {}] for {}", input.shape().text(), weight.shape()[0],
                      weight.name());
  }
  const Tensor bias_value = bias != nullptr ? bias->value() : Tensor();
  const tensor::DType type = wide ? graph.parameter_type() : graph.activation_type();
  Tensor y = graph.empty(input.shape(), type);
  Tensor mean = graph.empty({rows}, graph.parameter_type());
  Tensor rstd = graph.empty({rows}, graph.parameter_type());
  Tensor y_rows = as_rows(y);
  tensor::layer_norm(as_rows(input), weight.value(), bias_value, epsilon, y_rows, mean, rstd);

  const bool learns = weight.trainable() || (bias != nullptr && bias->trainable());
  Variable result(y, graph.recording() && (learns || x.requires_gradient()));
  if (!result.requires_gradient()) return result;
  result.set_recomputation([&graph, x, mean, rstd, bias_value, type, weight_value = weight.value()] {
    Tensor again = graph.empty(x.shape(), type);
    Tensor again_rows = as_rows(again);
    tensor::layer_norm_again(as_rows(x.value()), mean, rstd, weight_value, bias_value, again_rows);
    return again;
  });
  std::vector<Parameter*> parameters;
  if (weight.trainable()) parameters.push_back(&weight);
  if (bias != nullptr && bias->trainable()) parameters.push_back(bias);
  LayerNormRecord op{x, result, weight, bias, mean, rstd};
  graph.record("layer_norm", std::move(parameters), [&graph, op = std::move(op)]() mutable { backward(graph, op); });
  return result;
}

}  // namespace fledge::grad
