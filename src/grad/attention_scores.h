#pragma once

#include "grad/attention.h"

namespace fledge::grad {

/// The scores of packed_attention() before the softmax, scale * q k^T, of qkv [B, T, (H + 2 Hkv) D]: [B, H, T, T] of
/// the parameter type, with 0 where a query must not see a key. For looking at attention and for distillation, which
/// need what the fused form never holds; the graph keeps all B H T^2 of them. Dropout, pages and sequences of the
/// options have no part in it.
Variable attention_scores(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options,
                          int64_t key_heads = 0);

}  // namespace fledge::grad
