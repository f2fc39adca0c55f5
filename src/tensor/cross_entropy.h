#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// Cross-entropy of softmax(logits) and its gradient, in one reading and one writing pass over a row.
///   logits [R, V] f32 (or f64); targets [R] i32: a negative target is ignored, one of V or more throws Error;
///   losses [R] P, f32 (or f64): logsumexp(logits[r]) - logits[r, target], 0 where ignored;
///   d_logits [R, V] f32 or bf16 (or f64), or undefined: (softmax - onehot) * gradient_scale, rows of zeros where
///   ignored. May be `logits` itself;
///   row_weights [R] f32 (or f64), or undefined: factors of the rows' gradients, beside gradient_scale. The losses stay
///   as they are.
void cross_entropy(const Tensor& logits, const Tensor& targets, Tensor losses, double gradient_scale, Tensor d_logits,
                   const Tensor& row_weights = {});

/// out = logits - logsumexp(logits) of every row; [R, V], f32 (or f64); out may be `logits`.
void log_softmax(const Tensor& logits, Tensor out);

}  // namespace fledge::tensor
