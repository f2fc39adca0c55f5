#include "grad/feature_loss.h"

#include "tensor/elementwise.h"
#include "tensor/feature_loss.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

using Kernel = double (*)(const Tensor& x, const Tensor& target, const Tensor& counted, double factor, Tensor d_x);

Tensor as_rows(const Tensor& value) {
  return value.reshape({-1, value.dim(-1)});
}

FeatureLoss compare(Graph& graph, std::string_view name, Kernel kernel, const Variable& x, const Tensor& target,
                    double scale, const Tensor& counted) {
  const bool flows = graph.recording() && x.requires_gradient();
  Tensor d_x = flows ? graph.empty(x.shape(), x.dtype()) : Tensor();
  const double sum = kernel(as_rows(x.value()), as_rows(target), counted, scale, flows ? as_rows(d_x) : Tensor());
  Tensor value = graph.empty({1}, graph.parameter_type());
  tensor::fill(value, scale * sum);
  FeatureLoss result{Variable(value, flows), sum};
  if (flows) {
    graph.record(name, {}, [&graph, x, loss = result.loss, d_x]() mutable {
      loss.take_gradient();
      x.add_gradient(std::move(d_x), graph.arena());
    });
  }
  return result;
}

}  // namespace

FeatureLoss squared_distance(Graph& graph, const Variable& x, const Tensor& target, double scale,
                             const Tensor& counted) {
  return compare(graph, "squared_distance", tensor::squared_distance, x, target, scale, counted);
}

FeatureLoss cosine_distance(Graph& graph, const Variable& x, const Tensor& target, double scale,
                            const Tensor& counted) {
  return compare(graph, "cosine_distance", tensor::cosine_distance, x, target, scale, counted);
}

}  // namespace fledge::grad
