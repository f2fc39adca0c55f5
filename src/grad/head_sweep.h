#pragma once

#include <functional>

#include "grad/graph.h"

namespace fledge::grad {

/// The rows of a head's input that count: those whose target is not ignored.
struct HeadRows {
  tensor::Tensor x;        ///< [N, C], activation type
  tensor::Tensor targets;  ///< i32 [N]
  tensor::Tensor numbers;  ///< i32 [N]: which rows they are
  int64_t all = 0;         ///< R
};

/// Leaves out the rows of x [..., C] whose target (i32 [R]) is negative. Throws Error "[OPERATION] ..." where shapes do
/// not fit each other or the head.
HeadRows rows_with_targets(Graph& graph, const tensor::Tensor& x, const tensor::Tensor& targets,
                           const Parameter& weight, WeightLayout layout, std::string_view operation);

/// The rows `numbers` of a tensor [R, C] of the same rows as the head's input; the tensor itself where all count.
tensor::Tensor same_rows(Graph& graph, const tensor::Tensor& values, const HeadRows& rows);

/// Values [N] of the rows that count as values [R] of all rows, 0 for the others.
tensor::Tensor for_all_rows(Graph& graph, const tensor::Tensor& values, const HeadRows& rows);

/// What a loss does with the logits [count, V] of the rows [first, first + count) among those that count: it fills
/// d_logits [count, V] (activation type; undefined: no gradient is wanted).
using BlockLoss =
    std::function<void(int64_t first, int64_t count, const tensor::Tensor& logits, const tensor::Tensor& d_logits)>;

/// Takes logits = x W + bias through a loss, in groups of rows, so that the whole matrix is never held. While
/// recording, the gradients of W and bias are added, and that of x, [N, C], is returned where `needs_d_x`.
tensor::Tensor sweep_head(Graph& graph, const HeadRows& rows, Parameter& weight, WeightLayout layout, Parameter* bias,
                          bool needs_d_x, const BlockLoss& loss);

/// A variable [1] with the value `loss` whose backward pass hands d_rows [N, C] (may be undefined) to x. The gradients
/// of the parameters are there already: the record only says when they are complete.
Variable record_head_loss(Graph& graph, std::string_view operation, double loss, const Variable& x,
                          const HeadRows& rows, tensor::Tensor d_rows, Parameter& weight, Parameter* bias);

}  // namespace fledge::grad
