#include "grad/gather.h"

#include "base/error.h"
#include "tensor/gather.h"

namespace fledge::grad {

using tensor::Tensor;

Variable gather_rows(Graph& graph, const Variable& x, const Tensor& rows) {
  const int64_t width = x.shape()[-1];
  const Tensor all = x.value().reshape({-1, width});
  if (rows.device() != tensor::Device::meta) {
    for (const int32_t row : rows.to_vector<int32_t>()) {
      if (row < 0 || row >= all.dim(0)) {
        throw base::Error("[gather_rows] got row {} of x {}, expected 0 to {}", row, x.shape().text(), all.dim(0) - 1);
      }
    }
  }
  Tensor out = graph.empty({rows.elements(), width}, x.dtype());
  tensor::gather_rows(all, rows, out);
  Variable result(out, graph.recording() && x.requires_gradient());
  if (!result.requires_gradient()) return result;
  graph.record("gather_rows", {}, [&graph, x, result, rows, width]() mutable {
    const Tensor d_out = result.take_gradient();
    if (!d_out) return;
    Tensor d_x = graph.empty(x.shape(), d_out.dtype());
    Tensor d_rows = d_x.reshape({-1, width});
    tensor::scatter_rows(d_out, rows, d_rows);
    x.add_gradient(std::move(d_x), graph.arena());
  });
  return result;
}

}  // namespace fledge::grad
