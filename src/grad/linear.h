#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// y = residual + activation(x W + bias).
///
/// x [..., in] of the activation or the parameter type; the weight's layout says whether it stands as [in, out] or
/// [out, in]; bias [out] or null. Without a residual the result has the activation type; with one ([..., out],
/// parameter type) it has the residual's. With an activation, the value before it is kept and the result can be
/// recomputed (Variable::drop_value).
struct LinearOptions {
  Parameter* bias = nullptr;
  tensor::Activation activation = tensor::Activation::none;
  Variable residual{};
  bool wide = false;  ///< result in the parameter type (logits)
};
Variable linear(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                const LinearOptions& options = {});

}  // namespace fledge::grad
