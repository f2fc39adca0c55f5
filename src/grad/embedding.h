#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Rows of `table` [V, C] (parameter type) for ids i32 [...]: [..., C]. With a second table and its ids (positions of
/// the same shape) the rows are added. Throws Error where an id is outside its table.
Variable embedding(Graph& graph, const tensor::Tensor& ids, Parameter& table, const tensor::Tensor& position_ids = {},
                   Parameter* position_table = nullptr);

}  // namespace fledge::grad
