#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Rows of x [..., C], seen as [R, C], by number: [N, C] for rows i32 [N], which differ from each other. Throws Error
/// where a number is outside x.
Variable gather_rows(Graph& graph, const Variable& x, const tensor::Tensor& rows);

}  // namespace fledge::grad
