#include "grad/cast.h"

#include "tensor/elementwise.h"

namespace fledge::grad {

using tensor::Tensor;

Variable widen(Graph& graph, const Variable& x) {
  if (x.dtype() == graph.parameter_type()) return x;
  Tensor wide = graph.empty(x.shape(), graph.parameter_type());
  tensor::copy(x.value(), wide);
  Variable result(wide, graph.recording() && x.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("widen", {}, [&graph, x, result]() mutable {
    const Tensor d_wide = result.take_gradient();
    if (!d_wide) return;
    Tensor d_x = result.take_rounded_gradient();
    if (!d_x) {
      d_x = graph.empty(x.shape(), x.dtype());
      tensor::copy(d_wide, d_x);
    }
    x.add_gradient(std::move(d_x), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
