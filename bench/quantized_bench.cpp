// Products with block-quantized weights: a walk through all matrices of a 30-layer model of SmolLM2-135M's shapes, as
// decoding (few rows) and reading a prompt (512 rows) do. No matrix is met twice in a walk, so that weights come from
// memory as they do in use. Reported are GB/s of weights and their share of the read bandwidth measured just before;
// with 512 rows, operations and their share of what int8 instructions reach in registers.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "tensor/peak.h"
#include "tensor/quantized_matmul.h"

namespace fledge {
namespace {

using tensor::Arena;
using tensor::BlockMatrix;
using tensor::BlockType;
using tensor::DType;
using tensor::QuantizedMatrix;
using tensor::QuantizedProduct;
using tensor::Tensor;

constexpr int kLayers = 30;

Arena& arena() {
  static Arena memory("benchmark");
  return memory;
}

Tensor random_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  Tensor values = Tensor::empty({rows, columns}, DType::f32, arena());
  const base::Random random(seed, 1);
  for (int64_t i = 0; i < values.elements(); ++i) {
    values.data<float>()[i] = static_cast<float>(random.normal(static_cast<uint64_t>(i)));
  }
  return values;
}

/// A few random rows, again and again.
QuantizedMatrix make_weight(BlockType type, int64_t rows, int64_t columns) {
  constexpr int64_t kRows = 16;
  Arena scratch("scratch");
  const BlockMatrix few = tensor::quantize(random_matrix(kRows, columns, 3), type, scratch);
  BlockMatrix all{type, rows, columns, {}};
  all.bytes = Tensor::empty({rows / kRows * few.bytes.elements()}, DType::u8, scratch);
  for (int64_t row = 0; row < rows; row += kRows) {
    std::memcpy(all.bytes.raw() + row / kRows * few.bytes.elements(), few.bytes.raw(), few.bytes.bytes());
  }
  return tensor::pack(all, arena());
}

struct Layer {
  QuantizedMatrix query, key, value, attention_output, gate, up, down;
};

/// K-quants need multiples of 256, so their model is a little wider.
class Model {
 public:
  explicit Model(BlockType type) : width_(tensor::block_elements(type) == 32 ? 576 : 768) {
    for (int i = 0; i < kLayers; ++i) {
      layers_.push_back({make_weight(type, width_, width_), make_weight(type, width_ / 3, width_),
                         make_weight(type, width_ / 3, width_), make_weight(type, width_, width_),
                         make_weight(type, kFeedForward, width_), make_weight(type, kFeedForward, width_),
                         make_weight(type, width_, kFeedForward)});
      for (const QuantizedMatrix* weight :
           {&layers_.back().query, &layers_.back().key, &layers_.back().value, &layers_.back().attention_output,
            &layers_.back().gate, &layers_.back().up, &layers_.back().down}) {
        count(*weight);
      }
    }
    head_ = make_weight(type, kVocabulary, width_);
    bytes_ += head_.bytes.bytes();
  }

  size_t bytes() const { return bytes_; }
  /// Multiplications and additions for one row, the head left out.
  double layer_operations() const { return operations_; }

  void use(int64_t rows) {
    hidden_ = random_matrix(rows, width_, 1);
    gated_ = random_matrix(rows, kFeedForward, 2);
    const auto output = [&](int64_t columns) { return Tensor::empty({rows, columns}, DType::f32, arena()); };
    outputs_ = {output(width_), output(width_ / 3), output(width_ / 3), output(kFeedForward), output(kFeedForward)};
    logits_ = output(rows > 32 ? 1 : kVocabulary);
  }

  void walk(bool head) {
    for (const Layer& layer : layers_) {
      std::array attention{QuantizedProduct{&layer.query, outputs_[0]}, QuantizedProduct{&layer.key, outputs_[1]},
                           QuantizedProduct{&layer.value, outputs_[2]}};
      tensor::matmul_group(hidden_, attention);
      tensor::matmul(hidden_, layer.attention_output, outputs_[0]);
      std::array gates{QuantizedProduct{&layer.gate, outputs_[3]}, QuantizedProduct{&layer.up, outputs_[4]}};
      tensor::matmul_group(hidden_, gates);
      tensor::matmul(gated_, layer.down, outputs_[0]);
    }
    if (head) tensor::matmul(hidden_, head_, logits_);
  }

 private:
  static constexpr int64_t kFeedForward = 1536, kVocabulary = 49152;

  void count(const QuantizedMatrix& weight) {
    bytes_ += weight.bytes.bytes();
    operations_ += 2.0 * static_cast<double>(weight.depth) * static_cast<double>(weight.columns);
  }

  int64_t width_;
  std::vector<Layer> layers_;
  QuantizedMatrix head_;
  size_t bytes_ = 0;
  double operations_ = 0;
  Tensor hidden_, gated_, logits_;
  std::array<Tensor, 5> outputs_;
};

void run(benchmark::State& state, BlockType type, int64_t rows) {
  static std::array<std::unique_ptr<Model>, 5> models;
  auto& model = models[static_cast<size_t>(type)];
  if (model == nullptr) {
    for (auto& other : models) other.reset();
    model = std::make_unique<Model>(type);
  }
  const bool prompt = rows > 32;
  model->use(rows);
  model->walk(!prompt);
  const double bandwidth = prompt ? 0 : tensor::measure_read_bandwidth(model->bytes());
  const double peak = prompt ? tensor::measure_peak_int8() : 0;
  for (auto _ : state) model->walk(!prompt);
  using benchmark::Counter;
  const auto iterations = static_cast<double>(state.iterations());
  if (prompt) {
    const double operations = model->layer_operations() * static_cast<double>(rows) * iterations;
    state.counters["op/s"] = Counter(operations, Counter::kIsRate);
    state.counters["share"] = Counter(operations / peak, Counter::kIsRate);
  } else {
    const double bytes = static_cast<double>(model->bytes()) * iterations;
    state.counters["B/s"] = Counter(bytes, Counter::kIsRate);
    state.counters["share"] = Counter(bytes / bandwidth, Counter::kIsRate);
  }
}

[[maybe_unused]] const bool kRegistered = [] {
  for (const BlockType type : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1, BlockType::q4_k, BlockType::q6_k}) {
    for (const int64_t rows : {1, 4, 8, 32, 512}) {
      benchmark::RegisterBenchmark(fmt::format("{}/{}_rows", tensor::name_of(type), rows).c_str(),
                                   [type, rows](benchmark::State& state) { run(state, type, rows); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace fledge
