#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension (Zhang, Sennrich, 2019).
///
/// x [..., C] of the parameter type (the residual stream), weight [C]; y of the activation type. y can be recomputed
/// (Variable::drop_value).
Variable rms_norm(Graph& graph, const Variable& x, Parameter& weight, double epsilon);

/// The heads of one packed row: H of queries, Hkv of keys, Hkv of values, D elements each.
struct HeadLayout {
  int64_t heads, key_heads, head_size;

  int64_t width() const { return (heads + 2 * key_heads) * head_size; }
};

/// Every query head of qkv [B, T, (H + 2 Hkv) D] (activation type) normalized by itself and multiplied by query_weight
/// [D], and every key head likewise (Qwen3's QK-norm: Henry et al., "Query-key normalization for transformers", 2020,
/// with a learned weight). Values pass unchanged.
Variable head_rms_norm(Graph& graph, const Variable& qkv, const HeadLayout& layout, Parameter& query_weight,
                       Parameter& key_weight, double epsilon);

}  // namespace fledge::grad
