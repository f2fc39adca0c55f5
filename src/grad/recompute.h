#pragma once

#include <functional>

#include "grad/graph.h"

namespace fledge::grad {

/// Computes part(graph, x) and keeps x alone: what the part's operations would keep for the backward pass is made again
/// there, in one more forward pass of the part (Chen et al., "Training deep nets with sublinear memory cost", 2016).
/// Values and gradients are those of the part itself, bit for bit, dropout included.
///
/// `part` must compute the same each time and is kept until the backward pass; what it reads besides x and parameters
/// must have no gradient. While nothing is recorded this is part(graph, x).
Variable recomputed(Graph& graph, const Variable& x, const std::function<Variable(Graph&, const Variable&)>& part);

}  // namespace fledge::grad
