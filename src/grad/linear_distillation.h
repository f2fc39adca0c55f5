#pragma once

#include "grad/graph.h"
#include "tensor/distillation_loss.h"

namespace fledge::grad {

/// A linear head and the hidden states [..., C] of R rows before it, of a model that is not trained.
struct TeacherRows {
  tensor::Tensor hidden;  ///< activation type
  Parameter* weight = nullptr;
  WeightLayout layout = WeightLayout::output_input;
  Parameter* bias = nullptr;
};

/// What is known of a teacher's softmax where only its likeliest tokens were kept; see tensor/distillation_loss.h.
struct TeacherTop {
  tensor::Tensor ids;                ///< i32 [R, K]
  tensor::Tensor log_probabilities;  ///< f32 [R, K], at the temperature of the settings
};

struct DistillationLoss {
  Variable loss;                   ///< scale * sum of the token losses, one element of the parameter type
  tensor::Tensor token_losses;     ///< [R], parameter type; 0 where the target is ignored, as are those below
  tensor::Tensor cross_entropies;  ///< [R]: of the student alone
  tensor::Tensor divergences;      ///< [R]: KL, without alpha and tau^2
  tensor::Tensor agreements;       ///< [R]: 1 where both find the same token likeliest
};

/// Loss of a student with logits = x W + bias beside a teacher, as linear_cross_entropy() does it: rows go through both
/// heads in groups, so that neither model's logits are ever held whole, and rows whose target is ignored are left out.
/// Both models have the same vocabulary; their widths may differ. The teacher gets no gradient. With alpha = 0 the
/// teacher is not asked and the result is that of linear_cross_entropy(), bit for bit; divergences and agreements are
/// then undefined.
DistillationLoss linear_distillation(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                                     Parameter* bias, const TeacherRows& teacher, const tensor::Tensor& targets,
                                     const tensor::DistillationSettings& settings, double scale);
DistillationLoss linear_distillation(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                                     Parameter* bias, const TeacherTop& teacher, const tensor::Tensor& targets,
                                     const tensor::DistillationSettings& settings, double scale);

}  // namespace fledge::grad
