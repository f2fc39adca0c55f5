// Whole micro-batches of a student beside its teacher: what must be equal is equal, and the gradient is that of the
// loss.
#include "train/objectives/distillation/distillation.h"

#include <cmath>

#include "train/objectives/distillation/test_setting.h"
#include "train/objectives/next_token.h"

namespace fledge::train {
namespace {

using namespace distillation_testing;
using tensor::Tensor;
using testing::HasSubstr;

void use_all_terms(Recipe::Distillation& settings) {
  settings.alpha = 0.3;
  settings.temperature = 2.0;
  settings.hidden_weight = 0.5;
  settings.attention_weight = 0.25;
  settings.embedding_weight = 0.125;
}

TEST(Distillation, WithoutAlphaIsPlainTrainingBitForBit) {
  for (const DType type : {DType::f32, DType::bf16}) {
    Setting setting;
    setting.recipe.distillation.alpha = 0.0;
    setting.prepare(2, 12, 2);
    const std::vector<Batch> batches{setting.batch(0, 3)};
    const double loss = setting.run(batches, *setting.objective, type).loss;
    const std::vector<double> gradients = setting.gradients();
    EXPECT_EQ(setting.run(batches, NextToken(), type).loss, loss);
    EXPECT_EQ(setting.gradients(), gradients);
  }
}

TEST(Distillation, AStudentThatIsItsTeacherHasNothingToLearnFromIt) {
  Setting setting;
  use_all_terms(setting.recipe.distillation);
  setting.prepare(4, 12, 2, 1);
  const std::vector<Batch> batches{setting.batch(0, 3)};
  const Setting::Outcome outcome = setting.run(batches, *setting.objective);
  const Metrics metrics = setting.objective->report(outcome.sums);
  EXPECT_NEAR(metrics.at("kl"), 0.0, 1e-6);
  EXPECT_EQ(metrics.at("agreement"), 1.0);
  for (const char* name : {"hidden", "attention", "embedding"}) EXPECT_EQ(metrics.at(name), 0.0) << name;
  const std::vector<double> gradients = setting.gradients();
  const double plain = setting.run(batches, NextToken()).loss;
  EXPECT_NEAR(outcome.loss / (0.7 * plain), 1.0, 1e-5);
  EXPECT_NEAR(metrics.at("ce") / plain, 1.0, 1e-6);
  std::vector<double> expected = setting.gradients();
  for (double& value : expected) value *= 0.7;
  EXPECT_LT(test::relative_error(gradients, expected), 1e-5);
}

TEST(Distillation, MicroBatchesAddUpToTheStep) {
  for (const char* distance : {"mse", "cosine"}) {
    Setting setting;
    use_all_terms(setting.recipe.distillation);
    setting.recipe.distillation.hidden_distance = distance;
    setting.prepare(2, 8, 2);
    const Setting::Outcome whole = setting.run({setting.batch(0, 14)}, *setting.objective);
    const std::vector<double> gradients = setting.gradients();
    // Seven rows have as many targets as any other seven, so their means have equal weights.
    const Setting::Outcome parts = setting.run({setting.batch(0, 7), setting.batch(7, 7)}, *setting.objective);
    EXPECT_NEAR(parts.loss / whole.loss, 1.0, 1e-6);
    EXPECT_LT(test::relative_error(setting.gradients(), gradients), 1e-5);
    const Metrics a = setting.objective->report(whole.sums), b = setting.objective->report(parts.sums);
    EXPECT_EQ(a.size(), 6u);
    for (const auto& [name, value] : a) EXPECT_NEAR(b.at(name), value, 1e-5 * std::abs(value)) << name;
  }
}

TEST(Distillation, TheGradientIsThatOfTheLoss) {
  for (const char* divergence : {"forward", "reverse"}) {
    for (const double prediction_weight : {1.0, 2.0, 0.0}) {
      SCOPED_TRACE(fmt::format("{}, {}", divergence, prediction_weight));
      Setting setting;
      use_all_terms(setting.recipe.distillation);
      setting.recipe.distillation.divergence = divergence;
      setting.recipe.distillation.prediction_weight = prediction_weight;
      setting.prepare(2, 8, 2);
      const std::vector<Batch> batches{setting.batch(0, 4)};
      setting.run(batches, *setting.objective);
      const std::vector<double> gradients = setting.gradients();
      double squares = 0.0;
      for (const double value : gradients) squares += value * value;
      // Along the gradient the loss rises by its square; an f32 loss keeps seven digits, so the step is not small.
      Tensor& values = setting.student->parameters().flat_values();
      const std::vector<double> kept = as_doubles(values);
      const auto loss_at = [&](double step) {
        for (size_t index = 0; index < kept.size(); ++index) {
          values.data<float>()[index] = static_cast<float>(kept[index] + step * gradients[index]);
        }
        setting.student->parameters().values_changed();
        return setting.run(batches, *setting.objective).loss;
      };
      const double step = 2e-3 / std::sqrt(squares);
      EXPECT_NEAR((loss_at(step) - loss_at(-step)) / (2 * step * squares), 1.0, 5e-3);
    }
  }
}

TEST(Distillation, AnEvaluationShowsTheStudentsOwnCrossEntropy) {
  Setting setting;
  use_all_terms(setting.recipe.distillation);
  setting.prepare(2, 8, 2);
  const Batch batch = setting.batch(0, 3);
  grad::Graph graph(setting.memory.activations, setting.memory.encodings, DType::f32, false);
  const double loss = tensor::sum(setting.objective->evaluate(graph, *setting.student, batch, 1.0).token_losses);
  EXPECT_EQ(loss, tensor::sum(NextToken().evaluate(graph, *setting.student, batch, 1.0).token_losses));
}

TEST(Distillation, RunsOnShapesAlone) {
  Setting setting;
  use_all_terms(setting.recipe.distillation);
  setting.prepare(2, 8, 2);
  nn::Memory shapes(tensor::Device::meta);
  const auto objective = make_objective(setting.recipe, setting.source);
  const auto model = models::make_model(setting.config(2, 8, 2), "student");
  objective->add_parameters(*model);
  model->parameters().allocate(shapes, DType::f32, true);
  Batch batch;
  for (const char* name : {"ids", "targets", "positions", "document_starts"}) {
    batch.prepare(name, {3, kTokens}, DType::i32, shapes.activations);
  }
  batch.target_tokens = 3 * kTokens;
  grad::Graph graph(shapes.activations, shapes.encodings, DType::bf16, true);
  graph.backward(objective->evaluate(graph, *model, batch, 1.0).loss);
  EXPECT_GT(shapes.activations.peak_bytes(), 0u);
}

TEST(Distillation, RefusesWhatDoesNotFit) {
  const auto error = [](const auto& change, int64_t layers, int64_t heads) {
    Setting setting;
    change(setting);
    return error_of([&] { setting.prepare(layers, 8, heads); });
  };
  EXPECT_THAT(error([](Setting& setting) { setting.recipe.distillation.attention_weight = 1.0; }, 2, 4),
              HasSubstr("compares head with head, but the student has 4 and the teacher"));
  EXPECT_THAT(error([](Setting& setting) { setting.recipe.distillation.prediction_weight = 0.0; }, 2, 2),
              HasSubstr("there is nothing to learn"));
  EXPECT_THAT(error(
                  [](Setting& setting) {
                    setting.recipe.distillation.hidden_weight = 1.0;
                    setting.recipe.distillation.layers = {"0:9"};
                  },
                  2, 2),
              HasSubstr("the teacher has 4 blocks"));
  EXPECT_THAT(error([](Setting& setting) { setting.recipe.distillation.teacher = "/no/such/teacher"; }, 2, 2),
              HasSubstr("/no/such/teacher"));
  // Other tokens under the same number of ids, and another number of them: both are named.
  for (const char* name : {"other", "llama3"}) {
    const std::string text = error(
        [name](Setting& setting) { nn::Tokenizer::load(reference_tokenizer(name)).save(setting.folder / "teacher"); },
        2, 2);
    EXPECT_THAT(text, HasSubstr("different vocabularies")) << name;
    EXPECT_THAT(text, HasSubstr("teacher")) << name;
    EXPECT_THAT(text, HasSubstr(reference_tokenizer("gpt2").string())) << name;
  }
}

}  // namespace
}  // namespace fledge::train
