#pragma once

#include <span>

#include "grad/graph.h"
#include "tensor/attention.h"

namespace fledge::grad {

struct AttentionOptions {
  bool causal = true;
  double scale = 0.0;              ///< of the scores; 0: 1 / sqrt(head size)
  tensor::Tensor document_starts;  ///< i32 [B, T]: first position that a token sees; undefined: the whole row
  tensor::Tensor document_ends;    ///< i32 [B, T]: one past the last place that a token sees; undefined: the whole row
  int64_t window = 0;              ///< a token sees at most that many tokens, itself the last; 0: all; needs `causal`
  double dropout = 0.0;            ///< probability of dropping an attention weight while recording
  /// Generation: keys and values of earlier tokens in pages, to which those of this pass are added. The batch has one
  /// row: the new tokens of `sequences` one after another. Causal; not while recording.
  const tensor::PagedKeyValues* cache = nullptr;
  std::span<const tensor::PagedSequence> sequences;
};

/// Multi-head attention (Vaswani et al., 2017) with grouped heads (Ainslie et al., "GQA", 2023): q [B, Tq, H, D],
/// k [B, Tk, Hkv, D], v [B, Tk, Hkv, Dv], H a multiple of Hkv; query head h reads key head h / (H / Hkv). Returns
/// [B, Tq, H Dv] in the activation type. The matrix of weights is never held (Dao et al., "FlashAttention", 2022).
Variable attention(Graph& graph, const Variable& q, const Variable& k, const Variable& v,
                   const AttentionOptions& options);

/// The same on a fused projection qkv [B, T, (H + 2 Hkv) D], laid out as queries, keys and values one after the other,
/// each as heads of D. key_heads is Hkv; 0: as many as of queries.
Variable packed_attention(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options,
                          int64_t key_heads = 0);

}  // namespace fledge::grad
