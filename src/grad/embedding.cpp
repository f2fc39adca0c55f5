#include "grad/embedding.h"

#include "grad/adapter_product.h"
#include "tensor/embedding.h"

namespace fledge::grad {

using tensor::Shape;
using tensor::Tensor;

Variable embedding(Graph& graph, const Tensor& ids, Parameter& table, const Tensor& position_ids,
                   Parameter* position_table) {
  Shape shape = ids.shape();
  shape.push_back(table.shape()[1]);
  Tensor rows = graph.empty({ids.elements(), table.shape()[1]}, graph.parameter_type());
  const Tensor flat_ids = ids.reshape({-1});
  if (table.blocks()) {
    tensor::dequantize_rows(table.blocks(), flat_ids, rows);
  } else {
    tensor::embedding(flat_ids, table.value(), rows);
  }
  Tensor flat_positions;
  std::vector<Parameter*> learning = add_embedding_adapters(graph, table, flat_ids, rows);
  if (table.trainable()) learning.push_back(&table);
  if (position_table != nullptr) {
    tensor::require_shape(position_ids, ids.shape(), "[embedding] positions");
    flat_positions = position_ids.reshape({-1});
    tensor::embedding_add(flat_positions, position_table->value(), rows);
    const std::vector<Parameter*> own = add_embedding_adapters(graph, *position_table, flat_positions, rows);
    learning.insert(learning.end(), own.begin(), own.end());
    if (position_table->trainable()) learning.push_back(position_table);
  }
  Variable result(rows.reshape(shape), graph.recording() && !learning.empty());
  if (!result.requires_gradient()) return result;
  graph.record("embedding", std::move(learning),
               [&graph, result, flat_ids, flat_positions, &table, position_table]() mutable {
                 Tensor d_rows = result.take_gradient();
                 if (!d_rows) return;
                 d_rows = d_rows.reshape({flat_ids.elements(), -1});
                 embedding_adapters_backward(graph, table, flat_ids, d_rows);
                 if (position_table != nullptr)
                   embedding_adapters_backward(graph, *position_table, flat_positions, d_rows);
                 if (table.trainable()) tensor::embedding_backward(flat_ids, d_rows, table.gradient_to_add_to());
                 if (position_table != nullptr && position_table->trainable()) {
                   tensor::embedding_backward(flat_positions, d_rows, position_table->gradient_to_add_to());
                 }
               });
  return result;
}

}  // namespace fledge::grad
