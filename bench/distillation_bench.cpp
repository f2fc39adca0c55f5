#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/random.h"
#include "grad/linear_cross_entropy.h"
#include "grad/linear_distillation.h"
#include "models/language_model.h"
#include "tensor/cpu_features.h"

// What a distillation step costs beside its parts: the teacher's forward pass (its logits included, by blocks) and the
// student's forward and backward pass. The three take turns; the ratio is that of their medians. The optimizer, which
// is the same in both, is left out.

namespace fledge {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr int64_t kRows = 4, kTokens = 256, kVocabulary = 50257, kBlock = 128;

struct Model {
  nn::Memory memory;
  std::unique_ptr<models::LanguageModel> model;

  Model(int64_t layers, int64_t width, bool trainable) {
    model = models::make_model({{"model_type", "gpt2"},
                                {"vocab_size", kVocabulary},
                                {"n_positions", kTokens},
                                {"n_layer", layers},
                                {"n_embd", width},
                                {"n_head", width / 64},
                                {"embd_pdrop", 0.0},
                                {"attn_pdrop", 0.0},
                                {"resid_pdrop", 0.0}},
                               "bench");
    model->parameters().allocate(memory, DType::f32, trainable);
    model->parameters().initialize(1);
  }
};

class Bench {
 public:
  Bench(int64_t teacher_layers, int64_t student_layers, int64_t width)
      : teacher_(teacher_layers, width, false), student_(student_layers, width, true) {
    const base::Random random(1, 2);
    std::vector<int32_t> ids, targets;
    for (uint64_t place = 0; place < kRows * kTokens; ++place) {
      ids.push_back(static_cast<int32_t>(random.below(kVocabulary, 2 * place)));
      targets.push_back(static_cast<int32_t>(random.below(kVocabulary, 2 * place + 1)));
    }
    input_.ids = Tensor::from(ids, {kRows, kTokens}, batch_);
    targets_ = Tensor::from(targets, {kRows * kTokens}, batch_);
  }

  void teacher_forward() {
    grad::Graph graph(student_.memory.activations, teacher_.memory.encodings, type_, false);
    const Tensor hidden = teacher_.model->forward(graph, input_).hidden.value().reshape({kRows * kTokens, -1});
    const models::Head head = teacher_.model->head();
    const Tensor room = graph.empty({kBlock, kVocabulary}, DType::f32);
    for (int64_t first = 0; first < hidden.dim(0); first += kBlock) {
      Tensor logits = room;
      graph.multiply(hidden.slice(0, first, kBlock), *head.weight, head.layout, logits);
    }
  }

  void student_step() {
    step([&](grad::Graph& graph, const grad::Variable& hidden, const models::Head& head) {
      return grad::linear_cross_entropy(graph, hidden, *head.weight, head.layout, targets_, 1e-3).loss;
    });
  }

  void distillation_step(double temperature) {
    Tensor taught;
    {
      grad::Graph graph(student_.memory.activations, teacher_.memory.encodings, type_, false);
      taught = teacher_.model->forward(graph, input_).hidden.value();
    }
    const models::Head other = teacher_.model->head();
    step([&](grad::Graph& graph, const grad::Variable& hidden, const models::Head& head) {
      return grad::linear_distillation(graph, hidden, *head.weight, head.layout, nullptr,
                                       grad::TeacherRows{taught, other.weight, other.layout}, targets_,
                                       {0.5, temperature, false}, 1e-3)
          .loss;
    });
  }

 private:
  void step(const std::function<grad::Variable(grad::Graph&, const grad::Variable&, const models::Head&)>& loss) {
    // As after an optimizer's step: packed weights are made again.
    student_.model->parameters().values_changed();
    student_.model->parameters().forget_gradients();
    grad::Graph graph(student_.memory.activations, student_.memory.encodings, type_, true);
    graph.backward(loss(graph, student_.model->forward(graph, input_).hidden, student_.model->head()));
  }

  DType type_ = tensor::native_bf16() ? DType::bf16 : DType::f32;
  Model teacher_, student_;
  tensor::Arena batch_{"batch"};
  models::ForwardInput input_;
  Tensor targets_;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Temperature 1 and 2: with 1 there are fewer exponentials.
void distillation(benchmark::State& state) {
  Bench bench(state.range(0), state.range(1), state.range(2));
  const auto temperature = static_cast<double>(state.range(3));
  std::vector<double> teacher, student, both;
  const auto timed = [](std::vector<double>& seconds, const auto& part) {
    const auto start = std::chrono::steady_clock::now();
    part();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  };
  for (auto _ : state) {
    timed(teacher, [&] { bench.teacher_forward(); });
    timed(student, [&] { bench.student_step(); });
    timed(both, [&] { bench.distillation_step(temperature); });
  }
  state.counters["teacher_ms"] = 1e3 * median(teacher);
  state.counters["student_ms"] = 1e3 * median(student);
  state.counters["both_ms"] = 1e3 * median(both);
  state.counters["ratio"] = median(both) / (median(teacher) + median(student));
}
BENCHMARK(distillation)
    ->ArgNames({"teacher", "student", "width", "temperature"})
    ->Args({12, 6, 768, 2})
    ->Args({12, 6, 768, 1})
    ->Args({12, 6, 384, 2})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(9)
    ->UseRealTime();

}  // namespace
}  // namespace fledge
