#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Hyperbolic tangent of every element.
Variable tanh(Graph& graph, const Variable& x);

}  // namespace fledge::grad
