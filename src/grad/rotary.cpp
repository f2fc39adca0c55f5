#include "grad/rotary.h"

#include "base/error.h"
#include "tensor/elementwise.h"
#include "tensor/rotary.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

void rotate_heads(const Tensor& packed, int64_t heads, const Tensor& angles, bool inverse) {
  const int64_t size = angles.dim(1);
  const Tensor rows = packed.reshape({packed.dim(0) * packed.dim(1), packed.dim(2) / size, size}).slice(1, 0, heads);
  tensor::rotate(rows, angles, inverse, rows);
}

}  // namespace

Variable rotary(Graph& graph, const Variable& x, int64_t heads, const Tensor& angles) {
  const Tensor& value = x.value();
  if (value.rank() != 3 || angles.rank() != 2 || angles.dim(1) < 1 || value.dim(2) % angles.dim(1) != 0) {
    throw base::Error("[rotary] got x {} and angles {}, expected [B, T, W] and [B T, D] with D dividing W",
                      value.shape().text(), angles.shape().text());
  }
  rotate_heads(value, heads, angles, false);
  Variable result(value, graph.recording() && x.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("rotary", {}, [&graph, x, result, heads, angles]() mutable {
    Tensor d_y = result.take_gradient();
    if (!d_y) return;
    if (!d_y.is_sole_owner()) {
      Tensor copied = graph.empty_activation(x.shape());
      tensor::copy(d_y, copied);
      d_y = std::move(copied);
    }
    rotate_heads(d_y, heads, angles, true);
    x.add_gradient(std::move(d_y), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
