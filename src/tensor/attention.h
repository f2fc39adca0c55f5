#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "tensor/tensor.h"

namespace fledge::tensor {

/// What an attention head may see, and what happens to its weights.
///
/// Query i of a row has the absolute position Tk - Tq + i: with a cache of earlier keys (Tk > Tq) the queries are the
/// last ones. It sees the keys of [start, end): start is `document_starts` or 0; end is `document_ends` or Tk, and
/// where `causal`, no later than its own position + 1. A query with an empty range gives zeros, and a logsumexp of
/// -infinity.
struct AttentionOptions {
  bool causal = true;
  double scale = 0;        ///< factor of the scores, positive; 0: 1 / sqrt(D)
  Tensor document_starts;  ///< i32 [B, Tq]: first visible key of the row (packed documents); undefined: 0
  Tensor document_ends;    ///< i32 [B, Tq]: one past the last visible key (documents, padding); undefined: Tk
  int64_t window = 0;      ///< a query sees at most that many keys up to its own position; 0: all; needs `causal`

  /// Probability of dropping a normalised weight; the others are divided by 1 - dropout. Whether the weight of (row b,
  /// head h, query position, key) is dropped is a function of `random`, first_sample + b, h, and the two positions: the
  /// backward pass draws the same again, as does another split of the batch.
  double dropout = 0;
  const base::Random* random = nullptr;  ///< needed where dropout > 0
  uint64_t first_sample = 0;             ///< global number of row 0
};

/// softmax(scale * Q K^T) V for every head, without the matrix of scores in memory (Dao, "FlashAttention-2", 2023,
/// algorithm 1).
///
/// q [B, Tq, H, D], k [B, Tk, Hkv, D], v [B, Tk, Hkv, Dv], out [B, Tq, H, Dv]: all f32, all bf16 (sums and softmax in
/// f32, weights rounded to bf16 before the second product) or all f64 (a plain reference loop); any strides with a
/// contiguous last dimension. H is a multiple of Hkv; query head h uses key head h / (H / Hkv).
/// logsumexp [B, H, Tq], f32 (f64 for f64 operands), contiguous: the natural log of each query's softmax denominator,
/// for the backward pass; may be undefined.
///
/// A query's result depends on the keys from its document's first one on and not on Tq, on the other queries of the
/// call or on where in the row the document stands, bit for bit: keys are visited in blocks that begin with the
/// document. Returns at once on the meta device. Throws base::Error where shapes, types or options do not fit.
void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& out,
                       Tensor& logsumexp);

/// One sequence's part in a call of paged_attention.
struct PagedSequence {
  int64_t length = 0;          ///< tokens whose keys and values are in its pages already
  int64_t count = 0;           ///< tokens of this call, which follow them
  std::vector<int32_t> pages;  ///< page of tokens 0 .. attention_page_tokens - 1, of the next ones, ...
};

/// Keys and values of one layer in P pages, which sequences may share: [P, Hkv, ...], with a head's part laid out for
/// the machine's kernels (f64: plainly, [page tokens, D]). A page may be copied as a whole.
struct PagedKeyValues {
  Tensor keys, values;
  int64_t key_size = 0, value_size = 0;
  /// Of the layer that will be read next, so that memory can be asked for it in time; undefined: not known.
  Tensor next_keys, next_values;
};

/// Tokens in a page for operands of this type: the kernel's block of keys.
int64_t attention_page_tokens(DType dtype);

PagedKeyValues make_paged_key_values(int64_t pages, int64_t heads, int64_t key_size, int64_t value_size, DType dtype,
                                     Arena& arena);

/// Causal attention of several sequences over keys and values in pages, for generation.
///
/// q [N, H, D], k [N, Hkv, D], v [N, Hkv, Dv], out [N, H, Dv]: the new tokens of all sequences one after another, N the
/// sum of their counts; all of one type (f32, bf16 or f64), any strides with a contiguous last dimension. k and v are
/// written into the sequences' pages behind the tokens that are there; then every query sees its sequence's keys up to
/// its own. A query's result has the bits that attention_forward gives it with all keys in one row: it depends on
/// neither the other sequences, nor how its sequence was cut into calls, nor where its pages lie. `window` as in
/// AttentionOptions.
/// Throws base::Error where shapes, types or pages do not fit.
void paged_attention(const Tensor& q, const Tensor& k, const Tensor& v, const PagedKeyValues& cache,
                     std::span<const PagedSequence> sequences, double scale, Tensor& out, int64_t window = 0);

/// Gradients of attention_forward (Dao 2023, algorithm 2): the weights are computed again from q, k and `logsumexp`.
/// `out` and `logsumexp` are what the forward pass gave for the same options; d_out has the shape of out, d_q, d_k and
/// d_v (overwritten) those of q, k and v, all of one type. The result does not depend on the number of threads.
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out, const Tensor& d_out,
                        const Tensor& logsumexp, const AttentionOptions& options, Tensor& d_q, Tensor& d_k,
                        Tensor& d_v);

}  // namespace fledge::tensor
