#include "grad/rms_norm.h"

#include "base/error.h"
#include "tensor/elementwise.h"
#include "tensor/rms_norm.h"

namespace fledge::grad {
namespace {

using tensor::Shape;
using tensor::Tensor;

Tensor as_rows(const Tensor& value) {
  return value.reshape({-1, value.dim(-1)});
}

void check_weight(const Parameter& weight, const Shape& x, int64_t columns) {
  if (weight.shape() == Shape{columns}) return;
  throw base::Error("[rms_norm] got x {} and {} {}, expected a weight of [{}]", x.text(), weight.name(),
                    weight.shape().text(), columns);
}

struct RmsNormRecord {
  Variable x, y;
  Parameter& weight;
  Tensor rstd;
};

void backward(Graph& graph, RmsNormRecord& op) {
  Tensor d_y = op.y.take_gradient();
  if (!d_y) return;
  // What already flows to x past this operation (the residual branch) is added in the same pass over memory.
  Tensor past = op.x.take_gradient();
  op.x.take_rounded_gradient();
  Tensor d_x = past && past.is_sole_owner() ? past : graph.empty(op.x.shape(), graph.parameter_type());
  const bool narrow = graph.activation_type() != graph.parameter_type();
  Tensor rounded = narrow ? graph.empty_activation(op.x.shape()) : Tensor();
  Tensor d_weight = op.weight.trainable() ? op.weight.gradient_to_add_to() : Tensor();
  tensor::rms_norm_backward(as_rows(op.x.value()), op.weight.value(), op.rstd, as_rows(d_y),
                            past ? as_rows(past) : Tensor(), as_rows(d_x), rounded ? as_rows(rounded) : Tensor(),
                            d_weight);
  past = Tensor();
  op.x.add_gradient(std::move(d_x), graph.arena(), std::move(rounded));
}

/// A run of heads of packed rows [B, T, heads D], as [B T, count, D].
struct HeadRun {
  int64_t first, count;

  Tensor of(const Tensor& packed, int64_t head_size) const {
    return packed.reshape({packed.dim(0) * packed.dim(1), packed.dim(2) / head_size, head_size}).slice(1, first, count);
  }
};

/// Queries, or keys.
struct NormedHeads {
  HeadRun run;
  Parameter& weight;
  Tensor rstd;
};

}  // namespace

Variable rms_norm(Graph& graph, const Variable& x, Parameter& weight, double epsilon) {
  const Tensor& input = x.value();
  check_weight(weight, input.shape(), input.dim(-1));
  const int64_t rows = input.dim(-1) == 0 ? 0 : input.elements() / input.dim(-1);
  Tensor y = graph.empty_activation(input.shape());
  Tensor rstd = graph.empty({rows}, graph.parameter_type());
  tensor::rms_norm(as_rows(input), weight.value(), epsilon, as_rows(y), rstd);

  Variable result(y, graph.recording() && (weight.trainable() || x.requires_gradient()));
  if (!result.requires_gradient()) return result;
  result.set_recomputation([&graph, x, rstd, weight_value = weight.value()] {
    Tensor again = graph.empty_activation(x.shape());
    tensor::rms_norm_again(as_rows(x.value()), rstd, weight_value, as_rows(again));
    return again;
  });
  std::vector<Parameter*> parameters;
  if (weight.trainable()) parameters.push_back(&weight);
  RmsNormRecord op{x, result, weight, rstd};
  graph.record("rms_norm", std::move(parameters), [&graph, op = std::move(op)]() mutable { backward(graph, op); });
  return result;
}

Variable head_rms_norm(Graph& graph, const Variable& qkv, const HeadLayout& layout, Parameter& query_weight,
                       Parameter& key_weight, double epsilon) {
  const Tensor& input = qkv.value();
  const int64_t size = layout.head_size;
  if (input.rank() != 3 || input.dim(2) != layout.width()) {
    throw base::Error("[head_rms_norm] got qkv {}, expected [B, T, {}]", input.shape().text(), layout.width());
  }
  check_weight(query_weight, input.shape(), size);
  check_weight(key_weight, input.shape(), size);
  const int64_t rows = input.dim(0) * input.dim(1);
  std::vector<NormedHeads> parts;
  parts.push_back({{0, layout.heads}, query_weight, graph.empty({rows, layout.heads}, graph.parameter_type())});
  parts.push_back(
      {{layout.heads, layout.key_heads}, key_weight, graph.empty({rows, layout.key_heads}, graph.parameter_type())});
  const HeadRun values{layout.heads + layout.key_heads, layout.key_heads};
  Tensor y = graph.empty_activation(input.shape());
  for (const NormedHeads& part : parts) {
    tensor::rms_norm(part.run.of(input, size), part.weight.value(), epsilon, part.run.of(y, size), part.rstd);
  }
  tensor::copy(values.of(input, size), values.of(y, size));

  std::vector<Parameter*> learning;
  for (Parameter* weight : {&query_weight, &key_weight}) {
    if (weight->trainable()) learning.push_back(weight);
  }
  Variable result(y, graph.recording() && (!learning.empty() || qkv.requires_gradient()));
  if (!result.requires_gradient()) return result;
  graph.record("head_rms_norm", std::move(learning), [&graph, qkv, result, parts, values, size]() mutable {
    Tensor d_y = result.take_gradient();
    if (!d_y) return;
    const Tensor& x = qkv.value();
    // A head's gradient takes the place of the one that came.
    Tensor d_x = d_y.is_sole_owner() ? d_y : graph.empty_activation(qkv.shape());
    for (NormedHeads& part : parts) {
      Tensor d_weight = part.weight.trainable() ? part.weight.gradient_to_add_to() : Tensor();
      tensor::rms_norm_backward(part.run.of(x, size), part.weight.value(), part.rstd, part.run.of(d_y, size), {},
                                part.run.of(d_x, size), {}, d_weight);
    }
    if (!d_x.shares_storage(d_y)) tensor::copy(values.of(d_y, size), values.of(d_x, size));
    d_y = Tensor();
    qkv.add_gradient(std::move(d_x), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
