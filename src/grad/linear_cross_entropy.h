#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Sum of the cross-entropies of a linear head, without ever holding the whole logits matrix.
struct HeadLoss {
  Variable loss;                ///< scale * sum of the token losses, one element of the parameter type
  tensor::Tensor token_losses;  ///< [R], parameter type; 0 where the target is ignored
};

/// Loss of logits = x W + bias (bias [V] or null) against targets i32 [R] (negative: ignored), x [..., C] of the
/// activation type, R rows in all.
///
/// Rows go through the head in groups; while recording, the gradients of x, W and bias are computed in the same sweep,
/// so the logits of a group live only as long as it takes. Rows whose target is ignored cost nothing: they are left
/// out. `scale` (usually one over the number of target tokens of the whole batch) must be known here; the gradient that
/// arrives in the backward pass must then be 1 (a weighted objective puts its weight into `scale`).
///
/// `token_weights` ([R], parameter type; undefined: ones) are factors of the rows: loss is scale * sum of weight times
/// token loss. They are constants to the gradient, which is how an objective that is a function of token losses
/// (preferences, rewards) goes backward: its derivative by each token's loss is that token's weight.
HeadLoss linear_cross_entropy(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                              const tensor::Tensor& targets, double scale, Parameter* bias = nullptr,
                              const tensor::Tensor& token_weights = {});

/// The token losses alone ([R], parameter type, 0 where ignored): minus the log-probabilities of the targets, without a
/// gradient, whether or not the graph records.
tensor::Tensor linear_token_losses(Graph& graph, const tensor::Tensor& x, Parameter& weight, WeightLayout layout,
                                   const tensor::Tensor& targets, Parameter* bias = nullptr);

}  // namespace fledge::grad
