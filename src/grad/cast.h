#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// The same numbers in the parameter type: `x` itself where it has it. What a norm reads behind an activation.
Variable widen(Graph& graph, const Variable& x);

}  // namespace fledge::grad
