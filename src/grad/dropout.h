#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Inverted dropout (Srivastava et al., 2014). The mask is drawn again in the backward pass instead of being kept.
/// `x` itself where the probability is 0 or the graph does not record. The first dimension of x counts samples.
Variable dropout(Graph& graph, const Variable& x, double probability);

/// a + b, both of the parameter type or b of the activation type.
Variable add(Graph& graph, const Variable& a, const Variable& b);

}  // namespace fledge::grad
