#include "grad/recompute.h"

namespace fledge::grad {

Variable recomputed(Graph& graph, const Variable& x, const std::function<Variable(Graph&, const Variable&)>& part) {
  if (!graph.recording()) return part(graph, x);
  const uint64_t first_random = graph.random_operations();
  std::vector<Parameter*> parameters;
  Variable result;
  {
    // Recorded, so that dropout and everything else is that of training, and the record is forgotten at once.
    Graph inner = graph.sibling();
    inner.set_random_operations(first_random);
    const Variable y = part(inner, Variable(x.value(), x.requires_gradient()));
    graph.set_random_operations(inner.random_operations());
    parameters = inner.recorded_parameters();
    result = Variable(y.value(), y.requires_gradient());
  }
  if (!result.requires_gradient()) return result;

  graph.record("recomputed", std::move(parameters), [&graph, x, result, part, first_random]() mutable {
    tensor::Tensor d_y = result.take_gradient();
    if (!d_y) return;
    tensor::Tensor rounded = result.take_rounded_gradient();
    result = Variable();
    Graph inner = graph.sibling();
    inner.set_random_operations(first_random);
    const Variable again(x.value(), x.requires_gradient());
    inner.backward(part(inner, again), std::move(d_y), std::move(rounded));
    if (!x.requires_gradient()) return;
    tensor::Tensor d_x = again.take_gradient(), rounded_d_x = again.take_rounded_gradient();
    if (d_x) x.add_gradient(std::move(d_x), graph.arena(), std::move(rounded_d_x));
  });
  return result;
}

}  // namespace fledge::grad
