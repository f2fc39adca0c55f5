#include "tensor/attention.h"

#include <cmath>

#include "base/error.h"
#include "tensor/cpu/attention.h"
#include "tensor/cpu/attention_blocks.h"
#include "tensor/cpu/reference/attention.h"

namespace fledge::tensor {
namespace {

void require_operand(const Tensor& tensor, const Shape& expected, DType dtype, const char* name) {
  require_shape(tensor, expected, name);
  if (tensor.dtype() != dtype) {
    throw base::Error("{}: got {}, expected {} like q", name, describe(tensor), name_of(dtype));
  }
  if (tensor.stride(3) != 1 && tensor.dim(3) > 1) {
    throw base::Error("{}: {} has elements of a head {} apart, expected next to each other", name, describe(tensor),
                      tensor.stride(3));
  }
}

void require_contiguous(const Tensor& tensor, const Shape& expected, DType dtype, const char* name) {
  require_shape(tensor, expected, name);
  if (tensor.dtype() != dtype || !tensor.is_contiguous()) {
    throw base::Error("{}: got {}{}, expected contiguous {}", name, describe(tensor),
                      tensor.is_contiguous() ? "" : " (not contiguous)", name_of(dtype));
  }
}

cpu::AttentionDropout make_dropout(const AttentionOptions& options, int64_t heads) {
  cpu::AttentionDropout dropout;
  if (!(options.dropout >= 0 && options.dropout < 1)) {
    throw base::Error("attention: dropout is {}, expected at least 0 and less than 1", options.dropout);
  }
  if (options.dropout == 0) return dropout;
  if (options.random == nullptr) throw base::Error("attention: dropout {} needs random numbers", options.dropout);
  dropout.random = options.random;
  dropout.threshold = static_cast<uint32_t>(options.dropout * 0x1p32);
  dropout.kept = 1 / (1 - options.dropout);
  dropout.first_sample = options.first_sample;
  dropout.heads = heads;
  return dropout;
}

/// Checks what both directions share. The addresses in the result are valid while `options` lives.
cpu::AttentionProblem make_problem(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  if (!q || !k || !v || q.rank() != 4 || k.rank() != 4 || v.rank() != 4) {
    throw base::Error("attention: got q {}, k {}, v {}, expected three tensors [batch, tokens, heads, head size]",
                      describe(q), describe(k), describe(v));
  }
  cpu::AttentionProblem p{};
  p.batch = q.dim(0), p.queries = q.dim(1), p.heads = q.dim(2), p.head_size = q.dim(3);
  p.keys = k.dim(1), p.kv_heads = k.dim(2), p.value_size = v.dim(3);
  p.dtype = q.dtype(), p.causal = options.causal;
  if (p.dtype != DType::f32 && p.dtype != DType::bf16 && p.dtype != DType::f64) {
    throw base::Error("attention: got q {}, expected f32, bf16 or f64", describe(q));
  }
  require_operand(q, q.shape(), p.dtype, "attention q");
  require_operand(k, {p.batch, p.keys, p.kv_heads, p.head_size}, p.dtype, "attention k");
  require_operand(v, {p.batch, p.keys, p.kv_heads, p.value_size}, p.dtype, "attention v");
  if (p.head_size < 1 || p.value_size < 1) {
    throw base::Error("attention: head sizes are {} and {}, expected at least 1", p.head_size, p.value_size);
  }
  if (p.kv_heads < 1 || p.heads % p.kv_heads != 0) {
    throw base::Error("attention: {} query heads, expected a multiple of the {} key heads", p.heads, p.kv_heads);
  }
  if (p.causal && p.keys < p.queries) {
    throw base::Error("attention: {} queries and {} keys, expected no more queries than keys where causal", p.queries,
                      p.keys);
  }
  if (options.window < 0 || (options.window > 0 && !p.causal)) {
    throw base::Error("attention: a window of {} keys{}, expected 0 or more and causal attention", options.window,
                      p.causal ? "" : " without causal");
  }
  p.window = options.window;
  p.scale = options.scale == 0 ? 1 / std::sqrt(static_cast<double>(p.head_size)) : options.scale;
  if (!(p.scale > 0) || !std::isfinite(p.scale)) {
    throw base::Error("attention: scale is {}, expected a positive number", options.scale);
  }
  p.dropout = make_dropout(options, p.heads);
  const auto bounds = [&](const Tensor& tensor, const char* name) -> const int32_t* {
    if (!tensor) return nullptr;
    require_contiguous(tensor, {p.batch, p.queries}, DType::i32, name);
    return tensor.data<int32_t>();
  };
  p.starts = bounds(options.document_starts, "attention document_starts");
  p.ends = bounds(options.document_ends, "attention document_ends");
  return p;
}

cpu::AttentionView view(const Tensor& tensor) {
  return {tensor.raw(), tensor.stride(0), tensor.stride(1), tensor.stride(2)};
}

DType statistics_dtype(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

}  // namespace

void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& out,
                       Tensor& logsumexp) {
  const cpu::AttentionProblem p = make_problem(q, k, v, options);
  require_operand(out, {p.batch, p.queries, p.heads, p.value_size}, p.dtype, "attention out");
  if (logsumexp) {
    require_contiguous(logsumexp, {p.batch, p.heads, p.queries}, statistics_dtype(p.dtype), "attention logsumexp");
  }
  if (q.device() == Device::meta || out.elements() == 0) return;

  const cpu::AttentionForward tensors{view(q),  view(k), view(v), view(out), logsumexp ? logsumexp.raw() : nullptr,
                                      p.queries};
  if (p.dtype == DType::f64) {
    cpu::reference::attention_forward(p, tensors);
  } else {
    cpu::attention_forward(p, tensors, cpu::AttentionBlocks::of(p.dtype));
  }
}

void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out, const Tensor& d_out,
                        const Tensor& logsumexp, const AttentionOptions& options, Tensor& d_q, Tensor& d_k,
                        Tensor& d_v) {
  const cpu::AttentionProblem p = make_problem(q, k, v, options);
  const Shape out_shape{p.batch, p.queries, p.heads, p.value_size};
  require_operand(out, out_shape, p.dtype, "attention out");
  require_operand(d_out, out_shape, p.dtype, "attention d_out");
  require_operand(d_q, q.shape(), p.dtype, "attention d_q");
  require_operand(d_k, k.shape(), p.dtype, "attention d_k");
  require_operand(d_v, v.shape(), p.dtype, "attention d_v");
  require_contiguous(logsumexp, {p.batch, p.heads, p.queries}, statistics_dtype(p.dtype), "attention logsumexp");
  if (q.device() == Device::meta || p.batch == 0 || p.heads == 0) return;

  const cpu::AttentionBackward tensors{view(q),         view(k),   view(v),   view(out), view(d_out),
                                       logsumexp.raw(), view(d_q), view(d_k), view(d_v)};
  if (p.dtype == DType::f64) {
    cpu::reference::attention_backward(p, tensors);
  } else {
    cpu::attention_backward(p, tensors, cpu::AttentionBlocks::of(p.dtype));
  }
}

}  // namespace fledge::tensor
