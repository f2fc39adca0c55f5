// Masked tokens, labels, numbers and words' labels: loss, every gradient and ten steps against transformers and PyTorch
// (tests/reference), the examples packed side by side where the reference pads.
#include <gmock/gmock.h>

#include "base/error.h"
#include "base/json.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "support/reference_data.h"
#include "train/data/encoder_rows.h"
#include "train/objectives/classify.h"
#include "train/objectives/masked_language.h"
#include "train/training_step.h"

namespace fledge::train {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::as_doubles;
using test::ReferenceData;
using test::relative_error;

struct Case {
  std::string name;
  std::shared_ptr<const Objective> objective;
};

const std::vector<std::string> kLabels = {"LABEL_0", "LABEL_1", "LABEL_2"};
const std::vector<std::string> kWordLabels = {"LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"};

std::vector<Case> cases() {
  return {{"bert_pretraining", std::make_shared<MaskedLanguage>(true)},
          {"bert_labels", std::make_shared<Classify>(LabelTask::classification, kLabels, 0)},
          {"bert_score", std::make_shared<Classify>(LabelTask::regression, std::vector<std::string>{}, 0)},
          {"bert_tokens", std::make_shared<Classify>(LabelTask::tokens, kWordLabels, 0)}};
}

/// The reference's batch of one step without its padding, all examples in one row.
Batch packed_batch(const ReferenceData& data, const std::string& name, size_t step, tensor::Arena& arena) {
  const tensor::Shape shape = data.shape("steps.ids");
  const auto rows = static_cast<size_t>(shape[1]), width = static_cast<size_t>(shape[2]);
  const auto ids = data.integers<int32_t>("steps.ids"), types = data.integers<int32_t>("steps.token_types");
  const auto lengths = data.integers<int32_t>("steps.lengths");
  nn::EncoderRow row({});
  std::vector<int32_t> labels, places, pairs;
  std::vector<float> scores;
  for (size_t index = step * rows; index < (step + 1) * rows; ++index) {
    const auto length = static_cast<size_t>(lengths[index]);
    const auto begin = static_cast<size_t>(row.size());
    row.add_whole(std::span(ids).subspan(index * width, length), std::span(types).subspan(index * width, length));
    if (name == "bert_score") {
      scores.push_back(static_cast<float>(data.values<double>("steps.labels")[index]));
    } else if (name == "bert_labels") {
      labels.push_back(data.integers<int32_t>("steps.labels")[index]);
    } else {
      const auto all = data.integers<int32_t>("steps.labels");
      for (size_t place = 0; place < length; ++place) {
        const int32_t label = all[index * width + place];
        if (name == "bert_tokens") labels.push_back(label);
        if (name != "bert_pretraining" || label < 0) continue;
        labels.push_back(label);
        places.push_back(static_cast<int32_t>(begin + place));
      }
    }
    if (name == "bert_pretraining") pairs.push_back(data.integers<int32_t>("steps.next_sentence")[index]);
  }
  Batch batch;
  set_encoder_rows({&row, 1}, true, arena, batch);
  set_integers("labels", labels, arena, batch);
  if (name == "bert_pretraining") {
    set_integers("targets", labels, arena, batch);
    set_integers("masked_rows", places, arena, batch);
    set_integers("next_sentence", pairs, arena, batch);
  }
  batch.target_tokens = std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
  if (name == "bert_score") {
    batch.tensors["scores"] = Tensor::from(scores, {static_cast<int64_t>(scores.size())}, arena);
    batch.target_tokens = static_cast<int64_t>(scores.size());
  }
  return batch;
}

models::LoadedModel load(const Case& example, DType type) {
  const auto folder = std::filesystem::path(FLEDGE_REFERENCE_DIR) / example.name;
  base::Json config = models::read_config(folder);
  example.objective->adapt_config(config);
  models::LoadedModel loaded;
  loaded.memory = std::make_unique<nn::Memory>();
  loaded.model = models::make_model(config, example.name);
  loaded.model->parameters().allocate(*loaded.memory, type == DType::f64 ? DType::f64 : DType::f32, true);
  models::read_values(*loaded.model, folder);
  return loaded;
}

TEST(EncoderObjectives, LossAndEveryGradientMatchTransformers) {
  for (const Case& example : cases()) {
    const ReferenceData data(example.name + "_training_reference");
    for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-5}, {DType::f32, 1e-4}}) {
      SCOPED_TRACE(example.name + " " + std::string(tensor::name_of(type)));
      const models::LoadedModel loaded = load(example, type);
      nn::Memory& memory = *loaded.memory;
      grad::Graph graph(memory.activations, memory.encodings, type, true);
      const Batch batch = packed_batch(data, example.name, 0, memory.activations);
      const ObjectiveResult result =
          example.objective->evaluate(graph, *loaded.model, batch, 1.0 / static_cast<double>(batch.target_tokens));
      graph.backward(result.loss);
      const double expected = data.values<double>("steps.losses")[0];
      EXPECT_NEAR(as_doubles(result.loss.value())[0] / expected, 1.0, 1e-5);
      const std::vector<double> losses = as_doubles(result.token_losses);
      EXPECT_NEAR(std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(batch.target_tokens),
                  expected, 1e-5 * expected);
      for (const auto& entry : loaded.model->parameters().entries()) {
        grad::Parameter& parameter = *entry.parameter;
        const std::vector<double> actual = as_doubles(parameter.gradient_to_add_to());
        if (parameter.name().ends_with("key.bias")) {  // zero in exact arithmetic
          for (const double value : actual) EXPECT_NEAR(value, 0.0, 1e-6) << parameter.name();
          continue;
        }
        EXPECT_LT(relative_error(actual, data.values<double>("gradients." + parameter.name())), tolerance)
            << parameter.name();
      }
    }
  }
}

TEST(EncoderObjectives, TenStepsFollowPyTorch) {
  for (const Case& example : cases()) {
    const ReferenceData data(example.name + "_training_reference");
    const std::vector<double> losses = data.values<double>("steps.losses");
    const std::vector<double> norms = data.values<double>("steps.gradient_norms");
    for (const DType type : {DType::f64, DType::f32}) {
      SCOPED_TRACE(example.name + " " + std::string(tensor::name_of(type)));
      const models::LoadedModel loaded = load(example, type);
      nn::Memory& memory = *loaded.memory;
      AdamW optimizer(loaded.model->parameters(), memory, OptimizerOptions{0.9, 0.95, 1e-8, 0.1}, 0,
                      loaded.model->parameters().flat_size());
      const auto alone = tensor::make_single_process();
      TrainingStep step(*loaded.model, memory, *example.objective, optimizer, *alone,
                        StepOptions{.activation_type = type, .clip_norm = 1.0});
      for (size_t index = 0; index < losses.size(); ++index) {
        const Batch batch = packed_batch(data, example.name, index, memory.activations);
        const int64_t first_sample = 0;
        const StepResult result =
            step.run(static_cast<int64_t>(index), std::span(&batch, 1), std::span(&first_sample, 1), 1e-3);
        EXPECT_NEAR(result.loss / losses[index], 1.0, 1e-4) << index;
        EXPECT_NEAR(result.gradient_norm / norms[index], 1.0, 1e-3) << index;
        EXPECT_EQ(result.tokens, batch.at("ids").elements());
      }
      for (const auto& entry : loaded.model->parameters().entries()) {
        const std::string& name = entry.parameter->name();
        if (name.ends_with("key.bias")) continue;  // Adam makes steps of rounding there
        EXPECT_LT(relative_error(as_doubles(entry.parameter->value()), data.values<double>("after." + name)), 1e-4)
            << name;
      }
    }
  }
}

TEST(EncoderObjectives, NeedAnEncoder) {
  base::Json config = {{"model_type", "gpt2"}};
  for (const Case& example : cases()) EXPECT_THROW(example.objective->adapt_config(config), base::UsageError);
}

}  // namespace
}  // namespace fledge::train
