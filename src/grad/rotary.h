#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// The first `heads` heads of packed rows x [B, T, W] (activation type, heads of D) turned by the angles [B T, D] of
/// their tokens (tensor/rotary.h); the other heads pass unchanged.
///
/// In place: the result stands in x's memory, so nothing may read x's value afterwards. Backward needs the angles
/// alone.
Variable rotary(Graph& graph, const Variable& x, int64_t heads, const tensor::Tensor& angles);

}  // namespace fledge::grad
