// Adapters that PEFT saved: the same logits, and ten steps of training with PEFT's losses and gradients.
#include <gtest/gtest.h>

#include "grad/linear_cross_entropy.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "support/reference_data.h"
#include "train/optimizer.h"

namespace fledge::train {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::as_doubles;
using test::ReferenceData;
using test::relative_error;

struct Case {
  const char* name;
  const char* base;
};

void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}

class PeftAdapter : public testing::TestWithParam<Case> {
 protected:
  static std::filesystem::path data(const std::string& name) {
    return std::filesystem::path(FLEDGE_REFERENCE_DIR) / name;
  }
  static std::string adapter() { return fmt::format("adapters/{}", GetParam().name); }

  /// The base frozen, the adapter trainable.
  models::LoadedModel load_trainable(DType type) const {
    models::LoadedModel loaded;
    const std::filesystem::path base = data(GetParam().base);
    loaded.model = models::make_model(models::read_config(base), base.string());
    loaded.memory = std::make_unique<nn::Memory>();
    loaded.model->parameters().freeze();
    loaded.adapters.push_back(std::make_unique<models::ModelAdapter>(
        *loaded.model, models::AdapterConfig::read(data(adapter())), "default", "config"));
    loaded.model->parameters().allocate(*loaded.memory, type, true);
    models::read_values(*loaded.model, base);
    loaded.adapters[0]->load(data(adapter()));
    return loaded;
  }

  Tensor integers(const char* name, tensor::Arena& arena) const {
    const auto values = reference_.integers<int32_t>(name);
    return Tensor::from(values, reference_.shape(name), arena);
  }

  /// Every gradient against PEFT's, by its key; an embedding's A stands in memory transposed.
  void check_gradients(nn::ParameterSet& parameters, size_t step) const {
    for (const auto& entry : parameters.entries()) {
      grad::Parameter& parameter = *entry.parameter;
      if (!parameter.trainable() || !parameter.has_gradient()) continue;
      const std::string key = parameter.name().substr(parameter.name().find('/') + 1);
      // While it trains, PEFT calls the magnitudes otherwise than in its files.
      const char* ending = key.ends_with("magnitude_vector") ? ".weight" : "";
      const auto expected = reference_.values<double>(fmt::format("gradients.{}.{}{}", step, key, ending));
      Tensor gradient = parameter.gradient();
      std::vector<double> actual = as_doubles(gradient);
      if (key.ends_with("lora_embedding_A")) {
        const auto rows = static_cast<size_t>(gradient.dim(0)), columns = static_cast<size_t>(gradient.dim(1));
        std::vector<double> turned(actual.size());
        for (size_t i = 0; i < actual.size(); ++i) turned[i % columns * rows + i / columns] = actual[i];
        actual = turned;
      }
      EXPECT_LT(relative_error(actual, expected), 1e-4) << step << " " << key;
    }
  }

  ReferenceData reference_{adapter() + "_reference"};
};

TEST_P(PeftAdapter, GivesTheLogitsOfPeft) {
  for (const DType type : {DType::f32, DType::f64}) {
    models::LoadedModel loaded =
        models::load_model(data(GetParam().base), {.type = type, .adapters = {{"default", data(adapter()), 1.0}}});
    grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, type, false);
    models::ForwardInput input;
    input.ids = integers("ids", loaded.memory->activations);
    const grad::Variable hidden = loaded.model->forward(graph, input).hidden;
    const auto logits = as_doubles(models::logits(graph, *loaded.model, hidden).value());
    // The expected numbers are stored in f32; angles of positions and f32's own rounding through two blocks add to it.
    EXPECT_LT(relative_error(logits, reference_.values<double>("logits")), type == DType::f64 ? 3e-7 : 3e-6);
  }
}

TEST_P(PeftAdapter, TrainsAsPeftDoes) {
  models::LoadedModel loaded = load_trainable(DType::f32);
  models::LanguageModel& model = *loaded.model;
  nn::ParameterSet& parameters = model.parameters();
  AdamW optimizer(parameters, *loaded.memory, {0.9, 0.95, 1e-8, 0.1}, 0, parameters.flat_size());
  EXPECT_EQ(parameters.trainable_count(), loaded.adapters[0]->parameter_count());
  const auto losses = reference_.values<double>("losses");
  const Tensor targets = integers("targets", loaded.memory->activations).reshape({-1});
  double counting = 0.0;
  for (const int32_t target : targets.to_vector<int32_t>()) counting += target >= 0 ? 1.0 : 0.0;
  for (size_t step = 0; step < losses.size(); ++step) {
    parameters.forget_gradients();
    grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, DType::f32, true);
    models::ForwardInput input;
    input.ids = integers("ids", loaded.memory->activations);
    const grad::Variable hidden = model.forward(graph, input).hidden;
    const models::Head head = model.head();
    const grad::HeadLoss result =
        grad::linear_cross_entropy(graph, hidden, *head.weight, head.layout, targets, 1.0 / counting, head.bias);
    EXPECT_NEAR(as_doubles(result.loss.value())[0], losses[step], 1e-4 * losses[step]) << step;
    graph.backward(result.loss);
    if (step == 0 || step + 1 == losses.size()) check_gradients(parameters, step);
    optimizer.step(1e-2, 1.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Adapters, PeftAdapter,
                         testing::Values(Case{"llama_lora", "llama"}, Case{"llama_rslora", "llama"},
                                         Case{"llama_dora", "llama"}, Case{"llama_tables", "llama"},
                                         Case{"gpt2_lora", "gpt2_gelu_new"}, Case{"gpt2_dora", "gpt2_gelu_new"},
                                         Case{"bert_lora", "bert_pretraining"}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace fledge::train
