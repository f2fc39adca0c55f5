#pragma once

#include <vector>

#include "tensor/attention.h"

namespace fledge::tensor {

/// Sets the scores that no query may see to 0: scores [B, H, T, T] f32 or f64, contiguous, queries before keys. Of the
/// options, `causal`, the window and the documents say what is seen.
void clear_unseen(Tensor scores, const AttentionOptions& options);

/// The same for a block of one head: queries from place `first_query` of the row on and keys from `first_key` on,
/// scores [Q, K] f32 or f64 with contiguous rows, documents left aside.
void clear_unseen_block(Tensor scores, int64_t first_query, int64_t first_key, const AttentionOptions& options);

/// Queries of one row that see the same keys but for `causal` and the window: a document, or the whole row.
struct AttentionBlock {
  int64_t first_query, last_query, first_key, last_key;
};
/// Those of a row, without queries that see nothing. On the meta device, the whole row.
std::vector<AttentionBlock> attention_blocks(int64_t row, int64_t batch, int64_t tokens,
                                             const AttentionOptions& options);

/// How many pairs of a query and a key it sees there are in B rows of T tokens, for one head. On the meta device, all.
int64_t visible_pairs(int64_t batch, int64_t tokens, const AttentionOptions& options);

}  // namespace fledge::tensor
