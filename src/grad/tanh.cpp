#include "grad/tanh.h"

#include "tensor/tanh.h"

namespace fledge::grad {

using tensor::Tensor;

Variable tanh(Graph& graph, const Variable& x) {
  Tensor y = graph.empty(x.shape(), x.dtype());
  tensor::tanh(x.value(), y);
  Variable result(y, graph.recording() && x.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("tanh", {}, [&graph, x, result]() mutable {
    const Tensor d_y = result.take_gradient();
    if (!d_y) return;
    Tensor d_x = graph.empty(x.shape(), x.dtype());
    tensor::tanh_backward(result.value(), d_y, d_x);
    x.add_gradient(std::move(d_x), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
