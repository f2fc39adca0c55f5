#include <benchmark/benchmark.h>

#include <vector>

#include "base/random.h"
#include "tensor/attention.h"

// Attention of whole training batches, and of one new token with a cache. Flops counts the products alone, and of those
// of a causal pass only the half that is seen: 2 products forward, 5 backward, each 2 B H T^2 D, halved.

namespace fledge::tensor {
namespace {

struct Buffers {
  Arena arena{"bench"};
  Tensor qkv, d_qkv, out, d_out, logsumexp;
  AttentionOptions options;
  int64_t heads;

  Buffers(int64_t batch, int64_t tokens, int64_t head_count, int64_t size, DType dtype) : heads(head_count) {
    const Shape shape{batch, tokens, heads, size};
    qkv = random({batch, tokens, 3 * heads, size}, dtype, 1);
    d_qkv = random({batch, tokens, 3 * heads, size}, dtype, 2);
    out = random(shape, dtype, 3);
    d_out = random(shape, dtype, 4);
    logsumexp = Tensor::empty({batch, heads, tokens}, DType::f32, arena);
  }

  Tensor random(const Shape& shape, DType dtype, uint64_t stream) {
    const base::Random numbers(1, stream);
    Tensor tensor = Tensor::empty(shape, dtype, arena);
    const int64_t elements = tensor.elements();
    for (int64_t i = 0; i < elements; ++i) {
      const auto value = static_cast<float>(numbers.uniform(static_cast<uint64_t>(i))) * 2 - 1;
      if (dtype == DType::bf16) {
        tensor.data<bf16>()[i] = bf16::from(value);
      } else {
        tensor.data<float>()[i] = value;
      }
    }
    return tensor;
  }

  Tensor part(const Tensor& tensor, int64_t index) const { return tensor.slice(2, index * heads, heads); }

  void forward() { attention_forward(part(qkv, 0), part(qkv, 1), part(qkv, 2), options, out, logsumexp); }
  void backward() {
    Tensor d_q = part(d_qkv, 0), d_k = part(d_qkv, 1), d_v = part(d_qkv, 2);
    attention_backward(part(qkv, 0), part(qkv, 1), part(qkv, 2), out, d_out, logsumexp, options, d_q, d_k, d_v);
  }
};

void count_flops(benchmark::State& state, int products, const Buffers& b) {
  const auto batch = static_cast<double>(b.out.dim(0)), tokens = static_cast<double>(b.out.dim(1));
  const auto heads = static_cast<double>(b.heads), size = static_cast<double>(b.out.dim(3));
  const double flops = products * batch * heads * tokens * tokens * size;
  state.counters["flops"] =
      benchmark::Counter(flops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void forward(benchmark::State& state, DType dtype) {
  Buffers buffers(state.range(0), state.range(1), state.range(2), 64, dtype);
  for (auto _ : state) buffers.forward();
  count_flops(state, 2, buffers);
}

void backward(benchmark::State& state, DType dtype) {
  Buffers buffers(state.range(0), state.range(1), state.range(2), 64, dtype);
  buffers.forward();
  for (auto _ : state) buffers.backward();
  count_flops(state, 5, buffers);
}

void forward_and_backward(benchmark::State& state, DType dtype) {
  Buffers buffers(state.range(0), state.range(1), state.range(2), 64, dtype);
  for (auto _ : state) {
    buffers.forward();
    buffers.backward();
  }
  count_flops(state, 7, buffers);
}

void forward_and_backward_dropout(benchmark::State& state, DType dtype) {
  Buffers buffers(state.range(0), state.range(1), state.range(2), 64, dtype);
  const base::Random random(5, 6);
  buffers.options.dropout = 0.1, buffers.options.random = &random;
  for (auto _ : state) {
    buffers.forward();
    buffers.backward();
  }
  count_flops(state, 7, buffers);
}

/// One token of one request; bytes are those of the cache.
void decode(benchmark::State& state, DType dtype) {
  Buffers b(state.range(0), state.range(1), state.range(2), 64, dtype);
  Tensor query = b.part(b.qkv, 0).slice(1, b.qkv.dim(1) - 1, 1), out = b.out.slice(1, 0, 1), none;
  for (auto _ : state) attention_forward(query, b.part(b.qkv, 1), b.part(b.qkv, 2), b.options, out, none);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * b.out.bytes()));
}

void training_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"B", "T", "H"})->Args({8, 512, 12})->Args({32, 256, 6})->Args({1, 1024, 12})->UseRealTime();
  b->Unit(benchmark::kMillisecond);
}

void decode_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"B", "T", "H"})->Args({1, 128, 12})->Args({1, 1024, 12})->Args({1, 8192, 12})->UseRealTime();
  b->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(forward, bf16, DType::bf16)->Apply(training_shapes);
BENCHMARK_CAPTURE(backward, bf16, DType::bf16)->Apply(training_shapes);
BENCHMARK_CAPTURE(forward_and_backward, bf16, DType::bf16)->Apply(training_shapes);
BENCHMARK_CAPTURE(forward_and_backward_dropout, bf16, DType::bf16)->Apply(training_shapes);
BENCHMARK_CAPTURE(forward_and_backward, f32, DType::f32)->Apply(training_shapes);
BENCHMARK_CAPTURE(decode, bf16, DType::bf16)->Apply(decode_shapes);
BENCHMARK_CAPTURE(decode, f32, DType::f32)->Apply(decode_shapes);

}  // namespace
}  // namespace fledge::tensor
