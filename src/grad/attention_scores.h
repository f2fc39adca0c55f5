#pragma once

#include "grad/attention.h"
#include "grad/feature_loss.h"

namespace fledge::grad {

/// The scores of packed_attention() before the softmax, scale * q k^T, of qkv [B, T, (H + 2 Hkv) D]: [B, H, T, T] of
/// the parameter type, with 0 where a query must not see a key. For looking at attention and for distillation, which
/// need what the fused form never holds; the graph keeps all B H T^2 of them. Dropout, pages and sequences of the
/// options have no part in it.
Variable attention_scores(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options,
                          int64_t key_heads = 0);

/// The projection of queries, keys and values of another model with as many heads of queries.
struct OtherProjection {
  tensor::Tensor qkv;  ///< [B, T, (H + 2 Hkv) D]; its D and Hkv may differ
  int64_t key_heads = 0;
};

/// Sum over heads and over the pairs of tokens that see each other of (score - other model's score)^2, both before the
/// softmax and each with 1 / sqrt(its head size), or the scale of the options. Only the scores of one document and head
/// are held at a time. The other model gets no gradient. As in squared_distance(), the gradient that arrives must be 1.
FeatureLoss attention_score_distance(Graph& graph, const Variable& qkv, int64_t heads, int64_t key_heads,
                                     const OtherProjection& other, const AttentionOptions& options, double scale);

}  // namespace fledge::grad
