#pragma once

#include "grad/graph.h"
#include "grad/linear_distillation.h"

namespace fledge::grad {

/// The loss of linear_distillation() for few labels, whose logits [..., L] of the parameter type are there already, as
/// are the teacher's, of the same elements. targets i32 [R]; negative: ignored. With alpha = 0 it is cross_entropy(),
/// bit for bit.
DistillationLoss label_distillation(Graph& graph, const Variable& logits, const tensor::Tensor& teacher_logits,
                                    const tensor::Tensor& targets, const tensor::DistillationSettings& settings,
                                    double scale);

}  // namespace fledge::grad
