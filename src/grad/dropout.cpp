#include "grad/dropout.h"

#include "tensor/dropout.h"
#include "tensor/elementwise.h"

namespace fledge::grad {

using tensor::Tensor;

Variable dropout(Graph& graph, const Variable& x, double probability) {
  if (probability == 0.0 || !graph.recording()) return x;
  const base::Random random = graph.next_random();
  const int64_t per_sample = x.shape()[0] == 0 ? 0 : x.shape().elements() / x.shape()[0];
  const uint64_t first = graph.random_state().first_sample * static_cast<uint64_t>(per_sample);
  Tensor y = graph.empty(x.shape(), x.dtype());
  tensor::dropout(x.value(), probability, random, first, y);
  Variable result(y, x.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("dropout", {}, [&graph, x, result, probability, random, first]() mutable {
    Tensor d_y = result.take_gradient();
    if (!d_y) return;
    Tensor d_x = graph.empty(d_y.shape(), d_y.dtype());
    tensor::dropout(d_y, probability, random, first, d_x);
    x.add_gradient(std::move(d_x), graph.arena());
  });
  return result;
}

Variable add(Graph& graph, const Variable& a, const Variable& b) {
  Tensor sum = graph.empty(a.shape(), a.dtype());
  tensor::add(a.value(), b.value(), sum);
  Variable result(sum, a.requires_gradient() || b.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("add", {}, [&graph, a, b, result]() mutable {
    Tensor d_sum = result.take_gradient();
    if (!d_sum) return;
    if (b.requires_gradient() && b.dtype() != d_sum.dtype()) {
      Tensor narrow = graph.empty(d_sum.shape(), b.dtype());
      tensor::copy(d_sum, narrow);
      b.add_gradient(std::move(narrow), graph.arena());
    } else {
      b.add_gradient(d_sum, graph.arena());
    }
    a.add_gradient(std::move(d_sum), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
