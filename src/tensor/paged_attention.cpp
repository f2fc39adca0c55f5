#include <cmath>
#include <vector>

#include "base/error.h"
#include "tensor/attention.h"
#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/reference/attention.h"

namespace fledge::tensor {
namespace {

void require_heads(const Tensor& tensor, const Shape& expected, DType dtype, const char* name) {
  require_shape(tensor, expected, name);
  if (tensor.dtype() != dtype || (tensor.stride(2) != 1 && tensor.dim(2) > 1)) {
    throw base::Error("{}: got {}, expected {} with the elements of a head next to each other", name, describe(tensor),
                      name_of(dtype));
  }
}

/// Checks operands and pages; returns the number of tokens.
void check(const Tensor& q, const Tensor& k, const Tensor& v, const PagedKeyValues& cache,
           std::span<const PagedSequence> sequences, const Tensor& out) {
  const DType dtype = q.dtype();
  const int64_t page_tokens = attention_page_tokens(dtype), pages = cache.keys.dim(0);
  const int64_t tokens = q.dim(0), kv_heads = k.dim(1);
  require_heads(q, q.shape(), dtype, "paged attention q");
  require_heads(k, {tokens, kv_heads, q.dim(2)}, dtype, "paged attention k");
  require_heads(v, {tokens, kv_heads, v.dim(2)}, dtype, "paged attention v");
  require_heads(out, {tokens, q.dim(1), v.dim(2)}, dtype, "paged attention out");
  require_shape(cache.keys, {pages, kv_heads, page_tokens, q.dim(2)}, "paged attention keys");
  require_shape(cache.values, {pages, kv_heads, page_tokens, v.dim(2)}, "paged attention values");
  if (cache.keys.dtype() != dtype || cache.values.dtype() != dtype || !cache.keys.is_contiguous() ||
      !cache.values.is_contiguous()) {
    throw base::Error("paged attention: got pages {}, expected contiguous {}", describe(cache.keys), name_of(dtype));
  }
  if (kv_heads < 1 || q.dim(1) % kv_heads != 0) {
    throw base::Error("paged attention: {} query heads, expected a multiple of the {} key heads", q.dim(1), kv_heads);
  }
  int64_t total = 0;
  for (const PagedSequence& sequence : sequences) {
    total += sequence.count;
    const int64_t needed = (sequence.length + sequence.count + page_tokens - 1) / page_tokens;
    if (sequence.length < 0 || sequence.count < 0 || static_cast<int64_t>(sequence.pages.size()) < needed) {
      throw base::Error("paged attention: a sequence of {} + {} tokens has {} pages, expected {}", sequence.length,
                        sequence.count, sequence.pages.size(), needed);
    }
    for (int64_t index = 0; index < needed; ++index) {
      const int32_t page = sequence.pages[static_cast<size_t>(index)];
      if (page < 0 || page >= pages) throw base::Error("paged attention: page {}, expected 0 to {}", page, pages - 1);
    }
  }
  if (total != tokens) {
    throw base::Error("paged attention: the sequences have {} tokens and q has {}", total, tokens);
  }
}

cpu::AttentionView fresh_view(const Tensor& tensor, int64_t first) {
  std::byte* data = tensor.raw() + first * tensor.stride(0) * static_cast<int64_t>(size_of(tensor.dtype()));
  return {data, 0, tensor.stride(0), tensor.stride(1)};
}

cpu::AttentionView paged_view(const Tensor& pages, const PagedSequence& sequence) {
  cpu::AttentionView view{pages.raw(), 0, pages.stride(2), pages.stride(1)};
  view.pages = sequence.pages.data();
  view.page_tokens = pages.dim(2);
  view.page_stride = pages.stride(0);
  return view;
}

}  // namespace

int64_t attention_page_tokens(DType dtype) {
  return cpu::AttentionBlocks::of(dtype).key_block;
}

void paged_attention(const Tensor& q, const Tensor& k, const Tensor& v, const PagedKeyValues& cache,
                     std::span<const PagedSequence> sequences, double scale, Tensor& out) {
  check(q, k, v, cache, sequences, out);
  if (q.device() == Device::meta || out.elements() == 0) return;

  cpu::AttentionProblem problem{};
  problem.batch = 1, problem.heads = q.dim(1), problem.kv_heads = k.dim(1);
  problem.head_size = q.dim(2), problem.value_size = v.dim(2);
  problem.dtype = q.dtype(), problem.causal = true, problem.scale = scale;
  const cpu::AttentionBlocks& blocks = cpu::AttentionBlocks::of(problem.dtype);

  std::vector<cpu::AttentionCall> few_queries;
  int64_t first = 0;
  for (const PagedSequence& sequence : sequences) {
    const cpu::AttentionView keys = paged_view(cache.keys, sequence), values = paged_view(cache.values, sequence);
    cpu::store_in_pages(fresh_view(k, first), sequence.count, problem.kv_heads, problem.head_size, problem.dtype, keys,
                        sequence.length);
    cpu::store_in_pages(fresh_view(v, first), sequence.count, problem.kv_heads, problem.value_size, problem.dtype,
                        values, sequence.length);
    problem.queries = sequence.count, problem.keys = sequence.length + sequence.count;
    const cpu::AttentionForward tensors{fresh_view(q, first), keys, values, fresh_view(out, first), nullptr};
    first += sequence.count;
    if (sequence.count == 0) continue;
    if (problem.dtype == DType::f64) {
      cpu::reference::attention_forward(problem, tensors);
    } else if (cpu::attention_fits_rows(problem, blocks)) {
      few_queries.push_back({problem, tensors});
    } else {
      cpu::attention_forward(problem, tensors, blocks);
    }
  }
  cpu::attention_forward_rows(few_queries, blocks);
}

}  // namespace fledge::tensor
