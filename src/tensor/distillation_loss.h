#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace fledge::tensor {

/// How a student's logits are compared with a teacher's (Hinton et al., "Distilling the knowledge in a neural network",
/// 2015). Both softmaxes are taken with the temperature tau:
///   loss = (1 - alpha) * cross-entropy(target, student) + alpha * tau^2 * KL
/// KL is sum(p log(p / q)), p being the teacher's probabilities and q the student's; reverse: sum(q log(q / p)).
struct DistillationSettings {
  double alpha = 0.5;
  double temperature = 1.0;
  bool reverse = false;
};

/// What comes out for every row, [R] of the logits' type; 0 where the target is ignored.
struct DistillationRows {
  Tensor losses;           ///< as above
  Tensor cross_entropies;  ///< of the student alone, without temperature
  Tensor divergences;      ///< KL, without alpha and tau^2
  Tensor agreements;       ///< 1 where student and teacher find the same token likeliest
};

/// The loss of every row and its gradient at the student's logits.
///   student, teacher [R, V] f32 (or f64); targets [R] i32: a negative target is ignored, one of V or more throws
///   Error; d_student [R, V] f32 or bf16 (or f64), or undefined: the gradient times gradient_scale, rows of zeros where
///   ignored. May be `student` itself.
void distillation_loss(const Tensor& student, const Tensor& teacher, const Tensor& targets,
                       const DistillationSettings& settings, double gradient_scale, const DistillationRows& rows,
                       Tensor d_student);

/// The same with a teacher of whom only the K likeliest tokens of every row are known: ids [R, K] i32, each row's
/// different from each other, and their log-probabilities [R, K] f32 at the settings' temperature. What they leave of
/// 1 is the probability that another token comes; those tokens are compared as one, so the divergence is that of K + 1
/// outcomes. The student's logits are overwritten. A row's first id is its likeliest.
void distillation_loss(const Tensor& student, const Tensor& teacher_ids, const Tensor& teacher_log_probabilities,
                       const Tensor& targets, const DistillationSettings& settings, double gradient_scale,
                       const DistillationRows& rows, Tensor d_student);

}  // namespace fledge::tensor
