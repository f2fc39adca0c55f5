#pragma once

#include "grad/graph.h"
#include "grad/linear_cross_entropy.h"

namespace fledge::grad {

/// Cross-entropy of logits [..., L] of the parameter type, R rows in all, against targets i32 [R] (negative: ignored).
/// For few labels; a vocabulary has linear_cross_entropy. `loss` is `scale` times the sum, as there.
HeadLoss cross_entropy(Graph& graph, const Variable& logits, const tensor::Tensor& targets, double scale);

/// (score - target)^2 of scores [R] or [R, 1] of the parameter type, against targets f32 [R].
HeadLoss squared_error(Graph& graph, const Variable& scores, const tensor::Tensor& targets, double scale);

}  // namespace fledge::grad
