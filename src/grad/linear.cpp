#include "grad/linear.h"

#include "base/error.h"
#include "grad/adapter_product.h"
#include "tensor/elementwise.h"
#include "tensor/gelu.h"

namespace fledge::grad {
namespace {

using tensor::Activation;
using tensor::Shape;
using tensor::Tensor;

Tensor as_rows(const Tensor& value) {
  return value.reshape({-1, value.dim(-1)});
}

struct LinearRecord {
  Variable x, y, residual, preactivation;
  Parameter& weight;
  WeightLayout layout;
  Parameter* bias;
  Activation activation;
  std::shared_ptr<AdapterProduct> adapters;  ///< or null
};

/// dW = x^T dy, in the weight's own layout.
void add_weight_gradient(Graph& graph, LinearRecord& op, const Tensor& d_rows) {
  Tensor& gradient = op.weight.gradient();
  const tensor::Epilogue epilogue{.accumulate = op.weight.begin_gradient()};
  const Tensor x_rows = as_rows(op.x.value());
  if (op.layout == WeightLayout::input_output) {
    tensor::matmul(x_rows.transpose(0, 1), d_rows, graph.precision(), gradient, epilogue);
  } else {
    tensor::matmul(d_rows.transpose(0, 1), x_rows, graph.precision(), gradient, epilogue);
  }
}

/// dx = dy W^T.
void add_input_gradient(Graph& graph, LinearRecord& op, const Tensor& d_rows) {
  Tensor d_x = graph.empty(op.x.shape(), op.x.dtype());
  Tensor d_x_rows = as_rows(d_x);
  if (op.adapters != nullptr) {
    op.adapters->add_input_gradient(d_rows, d_x_rows);
  } else {
    graph.multiply_transposed(d_rows, op.weight, op.layout, d_x_rows);
  }
  op.x.add_gradient(std::move(d_x), graph.arena());
}

void backward(Graph& graph, LinearRecord& op) {
  Tensor d_y = op.y.take_gradient();
  if (!d_y) return;
  Tensor rounded = op.y.take_rounded_gradient();
  if (op.residual && op.residual.requires_gradient()) op.residual.add_gradient(d_y, graph.arena(), rounded);
  if (rounded) d_y = std::move(rounded);
  if (op.activation != Activation::none) {
    Tensor d_before = d_y.is_sole_owner() ? d_y : graph.empty_activation(op.y.shape());
    Tensor none;
    tensor::gelu_backward(op.preactivation.value(), op.activation, d_y, d_before, none);
    d_y = std::move(d_before);
  } else if (d_y.dtype() != graph.activation_type()) {
    Tensor narrow = graph.empty_activation(op.y.shape());
    tensor::copy(d_y, narrow);
    d_y = std::move(narrow);
  }
  const bool alone = d_y.is_sole_owner();
  Tensor d_rows = as_rows(d_y);
  d_y = Tensor();
  if (op.bias != nullptr && op.bias->trainable()) {
    const bool accumulate = op.bias->begin_gradient();
    tensor::column_sum(d_rows, op.bias->gradient(), accumulate);
  }
  if (op.adapters != nullptr) {
    d_rows = op.adapters->backward(as_rows(op.x.value()), d_rows, alone, op.x.requires_gradient());
  }
  if (op.weight.trainable()) add_weight_gradient(graph, op, d_rows);
  if (op.x.requires_gradient()) add_input_gradient(graph, op, d_rows);
}

void check(const Variable& x, const Parameter& weight, WeightLayout layout, const LinearOptions& options) {
  const Shape& shape = weight.shape();
  const int64_t in = shape[layout == WeightLayout::input_output ? 0 : 1];
  if (x.shape()[-1] != in) {
    throw base::Error("[linear] got x {}, expected [..., {}] for {} {}", x.shape().text(), in, weight.name(),
                      shape.text());
  }
  if ((options.residual || options.wide) && options.activation != Activation::none) {
    throw base::Error("[linear] an activation gives the activation type: neither a residual nor a wide result ({})",
                      weight.name());
  }
}

}  // namespace

Variable linear(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout, const LinearOptions& options) {
  check(x, weight, layout, options);
  Shape shape = x.shape();
  shape[-1] = weight.shape()[layout == WeightLayout::input_output ? 1 : 0];
  const bool has_activation = options.activation != Activation::none;

  const bool wide = options.wide || options.residual;
  Tensor y = graph.empty(shape, wide ? graph.parameter_type() : graph.activation_type());
  Tensor before = has_activation && graph.recording() ? graph.empty_activation(shape) : Tensor();
  Tensor y_rows = as_rows(y);
  tensor::Epilogue epilogue;
  if (options.bias != nullptr) epilogue.bias = options.bias->value();
  epilogue.activation = options.activation;
  if (before) epilogue.preactivation = as_rows(before);
  if (options.residual) epilogue.residual = as_rows(options.residual.value());
  const Tensor x_rows = as_rows(x.value());
  const auto adapters =
      AdapterProduct::start(graph, weight, layout, x_rows, x.shape()[0] == 0 ? 0 : x_rows.dim(0) / x.shape()[0]);
  if (adapters != nullptr) adapters->add_to(epilogue, y.dtype());
  graph.multiply(x_rows, weight, layout, y_rows, epilogue);

  std::vector<Parameter*> parameters;
  if (adapters != nullptr) parameters = adapters->trainable_parameters();
  if (weight.trainable()) parameters.push_back(&weight);
  if (options.bias != nullptr && options.bias->trainable()) parameters.push_back(options.bias);
  const bool flows = x.requires_gradient() || (options.residual && options.residual.requires_gradient());
  Variable result(y, graph.recording() && (!parameters.empty() || flows));
  if (!result.requires_gradient()) return result;

  LinearRecord op{x, result, options.residual, {}, weight, layout, options.bias, options.activation, adapters};
  if (before) {
    op.preactivation = Variable(before);
    result.set_recomputation([&graph, before, shape, form = options.activation] {
      Tensor again = graph.empty_activation(shape);
      tensor::gelu(before, form, again);
      return again;
    });
  }
  graph.record("linear", std::move(parameters), [&graph, op = std::move(op)]() mutable { backward(graph, op); });
  return result;
}

}  // namespace fledge::grad
