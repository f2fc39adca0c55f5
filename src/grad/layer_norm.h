#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Layer normalisation over the last dimension (Ba et al., "Layer normalization", 2016).
/// x [..., C] of the parameter type; the result has the activation type and can be recomputed
/// (Variable::drop_value). weight [C]; bias [C] or null. With `wide` the result has the parameter type: the residual
/// stream of a model that normalises behind its sublayers.
Variable layer_norm(Graph& graph, const Variable& x, Parameter& weight, Parameter* bias, double epsilon,
                    bool wide = false);

}  // namespace fledge::grad
