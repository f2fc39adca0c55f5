#include "grad/swiglu.h"

#include "base/error.h"
#include "tensor/swiglu.h"

namespace fledge::grad {
namespace {

using tensor::Shape;
using tensor::Tensor;

struct Halves {
  Tensor gate, up;
};

Halves halves_of(const Tensor& both) {
  const Tensor rows = both.reshape({-1, both.dim(-1)});
  const int64_t width = both.dim(-1) / 2;
  return {rows.slice(1, 0, width), rows.slice(1, width, width)};
}

Tensor apply(Graph& graph, const Variable& gate_up) {
  Shape shape = gate_up.shape();
  shape[-1] /= 2;
  Tensor y = graph.empty_activation(shape);
  const Halves halves = halves_of(gate_up.value());
  tensor::swiglu(halves.gate, halves.up, y.reshape({-1, shape[-1]}));
  return y;
}

}  // namespace

Variable swiglu(Graph& graph, const Variable& gate_up) {
  const Shape& shape = gate_up.shape();
  if (shape.rank() < 1 || shape[-1] < 2 || shape[-1] % 2 != 0) {
    throw base::Error("[swiglu] got {}, expected gates and values [..., 2 F]", shape.text());
  }
  Variable result(apply(graph, gate_up), graph.recording() && gate_up.requires_gradient());
  if (!result.requires_gradient()) return result;
  result.set_recomputation([&graph, gate_up] { return apply(graph, gate_up); });
  graph.record("swiglu", {}, [&graph, gate_up, result]() mutable {
    Tensor d_y = result.take_gradient();
    if (!d_y) return;
    Tensor d_both = graph.empty_activation(gate_up.shape());
    const Halves halves = halves_of(gate_up.value()), gradients = halves_of(d_both);
    tensor::swiglu_backward(halves.gate, halves.up, d_y.reshape({-1, d_y.dim(-1)}), gradients.gate, gradients.up);
    gate_up.add_gradient(std::move(d_both), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
