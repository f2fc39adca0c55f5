#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// silu(gate) * up (Shazeer, "GLU variants improve transformer", 2020) of gate_up [..., 2 F] (activation type), whose
/// rows hold the F gates and then the F values: [..., F]. The result can be recomputed (Variable::drop_value).
Variable swiglu(Graph& graph, const Variable& gate_up);

}  // namespace fledge::grad
