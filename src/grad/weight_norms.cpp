#include "grad/weight_norms.h"

#include <algorithm>
#include <numeric>

#include "tensor/column_scale.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

/// Rows of a weight [out, in] that are widened at a time.
constexpr int64_t kPanelRows = 256;

/// Calls body(first, rows) with the rows [first_output, first_output + outputs) of a weight as views [n, in]; `first`
/// counts from first_output.
template <typename Body>
void for_rows(Graph& graph, const Parameter& weight, WeightLayout layout, const Adapter::Part& part, const Body& body) {
  if (weight.value()) {
    const Tensor rows = as_input_output(weight.value(), layout).transpose(0, 1);
    return body(int64_t{0}, rows.slice(0, part.first_output, part.outputs));
  }
  const Parameter* own = &weight;
  int64_t begin = 0;
  for (const Parameter* member : weight.parts()) {
    if (begin == part.first_output) own = member;
    begin += member->shape()[0];
  }
  if (own->value()) return body(int64_t{0}, own->value());
  for (int64_t first = 0; first < part.outputs; first += kPanelRows) {
    const int64_t count = std::min(kPanelRows, part.outputs - first);
    std::vector<int32_t> ids(static_cast<size_t>(count));
    std::iota(ids.begin(), ids.end(), static_cast<int32_t>(first));
    Tensor panel = graph.empty({count, own->shape()[1]}, tensor::DType::f32);
    tensor::dequantize_rows(own->blocks(), Tensor::from(ids, {count}, graph.arena()), panel);
    body(first, panel);
  }
}

/// Rows whose elements stand together.
Tensor with_adjacent_elements(Graph& graph, const Tensor& rows) {
  if (rows.dim(1) <= 1 || rows.stride(1) == 1) return rows;
  Tensor copy = graph.empty(rows.shape(), rows.dtype());
  tensor::copy(rows, copy);
  return copy;
}

void update_norms(Graph& graph, Parameter& weight, WeightLayout layout, Adapter& adapter) {
  Adapter::Encoding& encoding = adapter.encoding;
  const int64_t outputs = weight.shape()[layout == WeightLayout::input_output ? 1 : 0];
  const tensor::DType type = graph.parameter_type();
  const bool fresh = encoding.base_version != weight.version();
  for (Tensor* vector : {&encoding.norms, &encoding.factors, &encoding.base_squares}) {
    if (!*vector) *vector = Tensor::empty({outputs}, type, graph.encodings());
  }
  tensor::fill(encoding.factors, 1.0);
  if (fresh) tensor::fill(encoding.norms, 1.0);
  for (const Adapter::Part& part : adapter.parts) {
    if (part.magnitude == nullptr) continue;
    const Tensor down = adapter.down->value().slice(0, part.first_rank, part.rank), up = part.up->value();
    Tensor gram = graph.empty({part.rank, part.rank}, type), turned = graph.empty({part.outputs, part.rank}, type);
    Tensor cross = graph.empty({part.outputs}, type), squares = graph.empty({part.outputs}, type);
    tensor::matmul(down, down.transpose(0, 1), tensor::Precision::f32, gram);
    tensor::matmul(up, gram, tensor::Precision::f32, turned);
    tensor::row_dots(turned, up, squares);
    const Tensor base = encoding.base_squares.slice(0, part.first_output, part.outputs);
    for_rows(graph, weight, layout, part, [&](int64_t first, const Tensor& rows) {
      if (fresh) {
        const Tensor adjacent = with_adjacent_elements(graph, rows);
        tensor::row_dots(adjacent, adjacent, base.slice(0, first, rows.dim(0)));
      }
      Tensor product = graph.empty({rows.dim(0), part.rank}, type);
      tensor::matmul(rows, down.transpose(0, 1), tensor::Precision::f32, product);
      tensor::row_dots(product, up.slice(0, first, rows.dim(0)), cross.slice(0, first, rows.dim(0)));
    });
    tensor::low_rank_norms(base, cross, squares, part.scale, encoding.norms.slice(0, part.first_output, part.outputs));
  }
  encoding.base_version = weight.version();
}

}  // namespace

void update_factors(Graph& graph, Parameter& weight, WeightLayout layout, Adapter& adapter) {
  update_norms(graph, weight, layout, adapter);
  for (const Adapter::Part& part : adapter.parts) {
    if (part.magnitude == nullptr) continue;
    tensor::divide(part.magnitude->value(), adapter.encoding.norms.slice(0, part.first_output, part.outputs),
                   adapter.encoding.factors.slice(0, part.first_output, part.outputs));
  }
}

void initialize_magnitudes(Graph& graph, Parameter& weight, WeightLayout layout, Adapter& adapter) {
  update_norms(graph, weight, layout, adapter);
  for (const Adapter::Part& part : adapter.parts) {
    if (part.magnitude == nullptr) continue;
    tensor::copy(adapter.encoding.norms.slice(0, part.first_output, part.outputs), part.magnitude->value());
    part.magnitude->value_changed();
  }
}

}  // namespace fledge::grad
