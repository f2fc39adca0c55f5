#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// losses[r] = (scores[r] - targets[r])^2 and, where defined, d_scores[r] = 2 (scores[r] - targets[r]) gradient_scale.
/// scores, losses and d_scores of R elements, f32 (or f64); targets [R] f32.
void squared_error(const Tensor& scores, const Tensor& targets, Tensor losses, double gradient_scale, Tensor d_scores);

}  // namespace fledge::tensor
