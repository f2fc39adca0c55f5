#include <cmath>
#include <vector>

#include "base/error.h"
#include "tensor/attention.h"
#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/attention_pages.h"
#include "tensor/cpu/read_ahead.h"
#include "tensor/cpu/reference/attention.h"

namespace fledge::tensor {
namespace {

/// Elements of one head in a page.
struct PageShape {
  int64_t key_elements, value_elements;
  DType dtype;

  PageShape(DType type, int64_t key_size, int64_t value_size) {
    if (type == DType::f64) {
      const int64_t tokens = attention_page_tokens(type);
      key_elements = tokens * key_size, value_elements = tokens * value_size, dtype = type;
    } else {
      const cpu::PageLayout layout(cpu::AttentionBlocks::of(type), key_size, value_size);
      key_elements = layout.key_elements, value_elements = layout.value_elements, dtype = layout.operand;
    }
  }
};

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
  const PageShape shape(dtype, q.dim(2), v.dim(2));
  require_shape(cache.keys, {pages, kv_heads, shape.key_elements}, "paged attention keys");
  require_shape(cache.values, {pages, kv_heads, shape.value_elements}, "paged attention values");
  if (cache.keys.dtype() != shape.dtype || cache.values.dtype() != shape.dtype || cache.key_size != q.dim(2) ||
      cache.value_size != v.dim(2)) {
    throw base::Error("paged attention: the pages are made for {} heads of {} and {}, expected {} and {}",
                      name_of(cache.keys.dtype()), cache.key_size, cache.value_size, q.dim(2), v.dim(2));
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

/// The reference: stores fresh rows [count, heads, size] in f64 pages and returns all rows of the sequence.
std::vector<double> store_and_gather(const cpu::AttentionView& fresh, int64_t heads, int64_t size, const Tensor& pages,
                                     const PagedSequence& sequence) {
  const int64_t page_tokens = attention_page_tokens(DType::f64), total = sequence.length + sequence.count;
  std::vector<double> rows(static_cast<size_t>(total * heads * size));
  for (int64_t token = 0; token < total; ++token) {
    const int64_t page = sequence.pages[static_cast<size_t>(token / page_tokens)];
    for (int64_t head = 0; head < heads; ++head) {
      double* place = pages.data<double>() + ((page * heads + head) * page_tokens + token % page_tokens) * size;
      if (token >= sequence.length) std::copy_n(fresh.row<double>(0, token - sequence.length, head), size, place);
      std::copy_n(place, size, rows.data() + (token * heads + head) * size);
    }
  }
  return rows;
}

void reference_attention(const cpu::AttentionProblem& problem, cpu::AttentionForward tensors,
                         const PagedKeyValues& cache, const PagedSequence& sequence) {
  std::vector<double> keys = store_and_gather(tensors.k, problem.kv_heads, problem.head_size, cache.keys, sequence);
  std::vector<double> values =
      store_and_gather(tensors.v, problem.kv_heads, problem.value_size, cache.values, sequence);
  tensors.k = {reinterpret_cast<std::byte*>(keys.data()), 0, problem.kv_heads * problem.head_size, problem.head_size};
  tensors.v = {reinterpret_cast<std::byte*>(values.data()), 0, problem.kv_heads * problem.value_size,
               problem.value_size};
  cpu::reference::attention_forward(problem, tensors);
}

/// Has the pages read ahead that the same sequences will need in the next layer.
void plan_next_layer(std::span<const cpu::AttentionCall> calls, const PagedKeyValues& cache) {
  cpu::ReadAhead& plan = cpu::ReadAhead::instance();
  plan.clear();
  if (!cache.next_keys || cache.next_keys.shape() != cache.keys.shape() ||
      cache.next_values.shape() != cache.values.shape()) {
    return;
  }
  for (const cpu::AttentionCall& call : calls) {
    cpu::AttentionPages pages = *call.tensors.pages;
    pages.keys = cache.next_keys.raw(), pages.values = cache.next_values.raw();
    for (int64_t head = 0; head < call.problem.kv_heads; ++head) pages.plan_reading(head, call.problem.keys, plan);
  }
}

}  // namespace

int64_t attention_page_tokens(DType dtype) {
  return cpu::AttentionBlocks::of(dtype).key_block;
}

void paged_attention(const Tensor& q, const Tensor& k, const Tensor& v, const PagedKeyValues& cache,
                     std::span<const PagedSequence> sequences, double scale, Tensor& out, int64_t window) {
  check(q, k, v, cache, sequences, out);
  if (q.device() == Device::meta || out.elements() == 0) return;

  cpu::AttentionProblem problem{};
  problem.batch = 1, problem.heads = q.dim(1), problem.kv_heads = k.dim(1);
  problem.head_size = q.dim(2), problem.value_size = v.dim(2);
  problem.dtype = q.dtype(), problem.causal = true, problem.scale = scale;
  problem.window = window;
  const cpu::AttentionBlocks& blocks = cpu::AttentionBlocks::of(problem.dtype);

  const cpu::PageLayout layout(blocks, problem.head_size, problem.value_size);

  std::vector<cpu::AttentionPages> pages;
  pages.reserve(sequences.size());  // calls keep addresses
  std::vector<cpu::AttentionCall> few_queries;
  int64_t first = 0;
  for (const PagedSequence& sequence : sequences) {
    if (sequence.count == 0) continue;
    problem.queries = sequence.count, problem.keys = sequence.length + sequence.count;
    cpu::AttentionForward tensors{
        fresh_view(q, first), fresh_view(k, first), fresh_view(v, first), fresh_view(out, first), nullptr, 0};
    first += sequence.count;
    if (problem.dtype == DType::f64) {
      reference_attention(problem, tensors, cache, sequence);
      continue;
    }
    pages.push_back({layout, cache.keys.raw(), cache.values.raw(), problem.kv_heads, sequence.pages.data()});
    tensors.pages = &pages.back();
    if (cpu::attention_fits_rows(problem, blocks)) {
      few_queries.push_back({problem, tensors, sequence.length});
    } else {
      pages.back().store(tensors.k, tensors.v, problem.dtype, sequence.length, sequence.count);
      if (sequence.length == 0) tensors.pages = nullptr;  // all keys are at hand as they came
      cpu::attention_forward(problem, tensors, blocks);
    }
  }
  cpu::attention_forward_rows(few_queries, blocks);
  if (q.dim(0) >= cpu::ReadAhead::kBusyRows) plan_next_layer(few_queries, cache);
}

PagedKeyValues make_paged_key_values(int64_t pages, int64_t heads, int64_t key_size, int64_t value_size, DType dtype,
                                     Arena& arena) {
  const PageShape shape(dtype, key_size, value_size);
  return {Tensor::empty({pages, heads, shape.key_elements}, shape.dtype, arena),
          Tensor::empty({pages, heads, shape.value_elements}, shape.dtype, arena), key_size, value_size};
}

}  // namespace fledge::tensor
