#include "base/error.h"
#include "grad/adapter_product.h"
#include "tensor/elementwise.h"
#include "tensor/embedding.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

double factor_of(const Adapter& adapter) {
  return adapter.parts.front().scale * adapter.identity->weight;
}

/// A run of rows and its ids.
struct Lookup {
  Adapter& adapter;
  Tensor ids, rows;
};

/// scale B^T [R, C].
Tensor scaled_up(Graph& graph, const Adapter& adapter) {
  const Tensor up = adapter.parts.front().up->value();
  Tensor scaled = graph.empty({up.dim(1), up.dim(0)}, up.dtype());
  tensor::copy(up.transpose(0, 1), scaled);
  tensor::scale(scaled, factor_of(adapter));
  return scaled;
}

Tensor looked_up(Graph& graph, const Adapter& adapter, const Tensor& ids) {
  Tensor inner = graph.empty({ids.elements(), adapter.down->shape()[1]}, graph.parameter_type());
  tensor::embedding(ids, adapter.down->value(), inner);
  return inner;
}

std::vector<Lookup> lookups_of(Graph& graph, Parameter& table, const Tensor& ids, const Tensor& rows) {
  std::vector<Lookup> lookups;
  if (graph.adapters_off()) return lookups;
  int64_t first = 0;
  for (const Graph::AdapterRun& run : graph.adapter_runs()) {
    for (const auto& adapter : table.adapters()) {
      if (adapter->identity.get() != run.adapter || run.adapter->weight == 0.0 || run.rows == 0) continue;
      lookups.push_back({*adapter, ids.slice(0, first, run.rows), rows.slice(0, first, run.rows)});
    }
    first += run.rows;
  }
  if (!graph.adapter_runs().empty()) return lookups;
  for (const auto& adapter : table.adapters()) {
    if (adapter->identity->weight != 0.0) lookups.push_back({*adapter, ids, rows});
  }
  return lookups;
}

}  // namespace

std::vector<Parameter*> add_embedding_adapters(Graph& graph, Parameter& table, const Tensor& ids, Tensor& rows) {
  std::vector<Parameter*> learning;
  if (table.adapters().empty()) return learning;
  for (Lookup& lookup : lookups_of(graph, table, ids, rows)) {
    tensor::matmul(looked_up(graph, lookup.adapter, lookup.ids), scaled_up(graph, lookup.adapter),
                   tensor::Precision::f32, lookup.rows, {.accumulate = true});
    const std::vector<Parameter*> own = lookup.adapter.trainable_parameters();
    learning.insert(learning.end(), own.begin(), own.end());
  }
  return learning;
}

void embedding_adapters_backward(Graph& graph, Parameter& table, const Tensor& ids, const Tensor& d_rows) {
  for (const Lookup& lookup : lookups_of(graph, table, ids, d_rows)) {
    Adapter& adapter = lookup.adapter;
    Parameter& up = *adapter.parts.front().up;
    if (up.trainable()) {
      Tensor d_up = graph.empty(up.shape(), up.value().dtype());
      tensor::matmul(d_rows.transpose(0, 1), looked_up(graph, adapter, ids), tensor::Precision::f32, d_up);
      tensor::scale(d_up, factor_of(adapter));
      tensor::add_into(up.gradient_to_add_to(), d_up);
    }
    if (adapter.down->trainable()) {
      Tensor d_inner = graph.empty({ids.elements(), adapter.down->shape()[1]}, graph.parameter_type());
      tensor::matmul(d_rows, scaled_up(graph, adapter).transpose(0, 1), tensor::Precision::f32, d_inner);
      tensor::embedding_backward(ids, d_inner, adapter.down->gradient_to_add_to());
    }
  }
}

}  // namespace fledge::grad
