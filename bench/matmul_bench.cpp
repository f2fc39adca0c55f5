// Matrix products of the shapes that GPT-2 needs, by fledge and by oneDNN, in GF/s (GB/s of weights for few rows).
// Compare in one run: --benchmark_enable_random_interleaving --benchmark_repetitions=5
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <dnnl.hpp>
#include <random>
#include <unordered_map>

#include "tensor/matmul.h"

namespace fledge {
namespace {

using tensor::DType;
using tensor::Precision;
using tensor::Tensor;

struct Product {
  int64_t rows, depth, columns;
  bool is_gradient = false;  ///< X^T dY: the left operand is a transposed view and the right one is not packed before
};

const Product kProducts[] = {
    {4096, 768, 2304},  {4096, 768, 768},        {4096, 768, 3072}, {4096, 3072, 768}, {4096, 768, 50304},
    {1024, 1024, 1024}, {768, 4096, 3072, true}, {1, 768, 50304},   {8, 768, 50304},   {1, 768, 3072},
};

tensor::Arena& arena() {
  static tensor::Arena memory("benchmark");
  return memory;
}

Tensor random_matrix(int64_t rows, int64_t columns, DType dtype) {
  Tensor matrix = Tensor::empty({rows, columns}, dtype, arena());
  std::minstd_rand engine(1);
  for (int64_t i = 0; i < matrix.elements(); ++i) {
    const float value = static_cast<float>(engine() % 2001) / 1000.0f - 1.0f;
    if (dtype == DType::f32) {
      matrix.data<float>()[i] = value;
    } else {
      matrix.data<tensor::bf16>()[i] = tensor::bf16::from(value);
    }
  }
  return matrix;
}

void report(benchmark::State& state, const Product& product, DType dtype) {
  const double runs = static_cast<double>(state.iterations());
  const double weights = static_cast<double>(product.depth) * static_cast<double>(product.columns);
  state.counters["GF/s"] =
      benchmark::Counter(runs * 2e-9 * weights * static_cast<double>(product.rows), benchmark::Counter::kIsRate);
  if (product.rows <= 8) {
    state.counters["GB/s"] = benchmark::Counter(runs * 1e-9 * weights * static_cast<double>(tensor::size_of(dtype)),
                                                benchmark::Counter::kIsRate);
  }
}

void run_fledge(benchmark::State& state, const Product& product, DType dtype) {
  const Precision precision = dtype == DType::bf16 ? Precision::bf16 : Precision::f32;
  const Tensor a = product.is_gradient ? random_matrix(product.depth, product.rows, dtype).transpose(0, 1)
                                       : random_matrix(product.rows, product.depth, dtype);
  const Tensor b = random_matrix(product.depth, product.columns, dtype);
  // A gradient is kept in f32.
  Tensor out = Tensor::empty({product.rows, product.columns}, product.is_gradient ? DType::f32 : dtype, arena());
  tensor::PackedMatrix packed;
  if (!product.is_gradient) pack(b, precision, packed, arena());
  for (auto unused : state) {
    if (product.is_gradient) {
      matmul(a, b, precision, out);
    } else {
      matmul(a, packed, out);
    }
  }
  report(state, product, dtype);
}

void run_onednn(benchmark::State& state, const Product& product, DType dtype) {
  using dnnl::memory;
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto type = dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto out_type = product.is_gradient ? memory::data_type::f32 : type;
  const auto a_tag = product.is_gradient ? memory::format_tag::ba : memory::format_tag::ab;
  const memory::desc a_desc({product.rows, product.depth}, type, a_tag);
  const memory::desc b_plain({product.depth, product.columns}, type, memory::format_tag::ab);
  const memory::desc b_any({product.depth, product.columns}, type, memory::format_tag::any);
  const memory::desc out_desc({product.rows, product.columns}, out_type, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(a_desc, product.is_gradient ? b_plain : b_any, out_desc),
                                            engine);
  const Tensor a = product.is_gradient ? random_matrix(product.depth, product.rows, dtype)
                                       : random_matrix(product.rows, product.depth, dtype);
  const Tensor b = random_matrix(product.depth, product.columns, dtype);
  memory a_memory(a_desc, engine, a.raw());
  memory b_memory(b_plain, engine, b.raw());
  memory out_memory(out_desc, engine);
  memory weights(chosen.weights_desc(), engine);
  dnnl::reorder(b_memory, weights).execute(stream, b_memory, weights);
  const dnnl::matmul primitive(chosen);
  const std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, a_memory}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, out_memory}};
  for (auto unused : state) {
    primitive.execute(stream, arguments);
    stream.wait();
  }
  report(state, product, dtype);
}

const bool kRegistered = [] {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Product& product : kProducts) {
      const std::string name = fmt::format("{}x{}x{}{}/{}", product.rows, product.depth, product.columns,
                                           product.is_gradient ? "_gradient" : "", name_of(dtype));
      const auto add = [&](const std::string& who, auto* run) {
        benchmark::RegisterBenchmark((name + "/" + who).c_str(),
                                     [run, product, dtype](benchmark::State& state) { run(state, product, dtype); })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      };
      add("fledge", run_fledge);
      add("onednn", run_onednn);
    }
  }
  return true;
}();

}  // namespace
}  // namespace fledge
