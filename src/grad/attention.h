#pragma once

#include <span>

#include "grad/graph.h"
#include "tensor/attention.h"

namespace fledge::grad {

struct AttentionOptions {
  bool causal = true;
  double scale = 0.0;              ///< of the scores; 0: 1 / sqrt(head size)
  tensor::Tensor document_starts;  ///< i32 [B, T]: first position that a token sees; undefined: the whole row
  double dropout = 0.0;            ///< probability of dropping an attention weight while recording
  /// Generation: keys and values of earlier tokens in pages, to which those of this pass are added. The batch has one
  /// row: the new tokens of `sequences` one after another. Causal; not while recording.
  const tensor::PagedKeyValues* cache = nullptr;
  std::span<const tensor::PagedSequence> sequences;
};

/// Multi-head attention (Vaswani et al., 2017) on a fused projection qkv [B, T, 3 H D], laid out as queries, keys and
/// values one after the other, each as H heads of D. Returns [B, T, H D] in the activation type. The weights matrix is
/// never held (Dao et al., "FlashAttention", 2022).
Variable packed_attention(Graph& graph, const Variable& qkv, int64_t heads, const AttentionOptions& options);

}  // namespace fledge::grad
