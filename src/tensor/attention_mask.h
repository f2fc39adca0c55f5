#pragma once

#include "tensor/attention.h"

namespace fledge::tensor {

/// Sets the scores that no query may see to 0: scores [B, H, T, T] f32 or f64, contiguous, queries before keys. Of the
/// options, `causal`, the window and the documents say what is seen.
void clear_unseen(Tensor scores, const AttentionOptions& options);

/// How many pairs of a query and a key it sees there are in B rows of T tokens, for one head. On the meta device, all.
int64_t visible_pairs(int64_t batch, int64_t tokens, const AttentionOptions& options);

}  // namespace fledge::tensor
