#pragma once

#include "tensor/tensor.h"

namespace fledge::tensor {

/// The K likeliest tokens of every row of logits [R, V] f32: ids [R, K] i32, likeliest first (the lower id first among
/// equals), their log-probabilities [R, K] f32 under the softmax with temperature, and tails [R] f32, the probability
/// of all other tokens. 1 <= K <= V.
void top_k(const Tensor& logits, double temperature, Tensor ids, Tensor log_probabilities, Tensor tails);

}  // namespace fledge::tensor
