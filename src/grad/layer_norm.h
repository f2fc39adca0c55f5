#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Layer normalisation over the last dimension (Ba et al., "Layer normalization", 2016).
/// x [..., C] of the parameter type; the result has the activation type and can be recomputed
/// (Variable::drop_value). weight [C]; bias [C] or null.
Variable layer_norm(Graph& graph, const Variable& x, Parameter& weight, Parameter* bias, double epsilon);

}  // namespace fledge::grad
