#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// How far a model's values are from another's.
struct FeatureLoss {
  Variable loss;     ///< scale * sum, one element of the parameter type
  double sum = 0.0;  ///< without the scale
};

/// Sum over rows and columns of (x - target)^2, x [..., C] of any type and target of the same elements, which gets no
/// gradient. Rows where `counted` (i32 [R], undefined: all count) is 0 are left out. As in linear_cross_entropy(), the
/// gradient that arrives must be 1: a weight belongs into `scale`.
FeatureLoss squared_distance(Graph& graph, const Variable& x, const tensor::Tensor& target, double scale,
                             const tensor::Tensor& counted = {});

/// Sum over rows of 1 - cosine(x, target).
FeatureLoss cosine_distance(Graph& graph, const Variable& x, const tensor::Tensor& target, double scale,
                            const tensor::Tensor& counted = {});

}  // namespace fledge::grad
