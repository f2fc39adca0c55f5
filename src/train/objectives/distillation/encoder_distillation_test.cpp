// Distillation of encoders: masked tokens, labels, and TinyBERT's terms without predictions.
#include <cmath>

#include "base/json.h"
#include "train/objectives/classify.h"
#include "train/objectives/distillation/test_setting.h"
#include "train/objectives/masked_language.h"

namespace fledge::train {
namespace {

using namespace distillation_testing;
using tensor::Tensor;

/// A BERT with a teacher of the same family: two rows of two documents.
struct EncoderSetting {
  RandomSource source{"bert"};
  TemporaryFolder folder;
  Recipe recipe;
  nn::Memory memory;
  std::unique_ptr<models::LanguageModel> student;
  std::unique_ptr<Objective> objective;

  base::Json config(int64_t layers, int64_t width, const std::string& architecture) const {
    return {{"model_type", "bert"},
            {"architectures", {architecture}},
            {"vocab_size", source.tokenizer().vocabulary_size()},
            {"hidden_size", width},
            {"num_hidden_layers", layers},
            {"num_attention_heads", 2},
            {"intermediate_size", 2 * width},
            {"max_position_embeddings", 16},
            {"type_vocab_size", 2},
            {"initializer_range", 0.2},
            {"hidden_dropout_prob", 0.0},
            {"attention_probs_dropout_prob", 0.0},
            {"id2label", {{"0", "no"}, {"1", "maybe"}, {"2", "yes"}}},
            {"label2id", {{"no", 0}, {"maybe", 1}, {"yes", 2}}}};
  }

  explicit EncoderSetting(const std::string& kind) {
    recipe.objective.kind = kind;
    nn::Memory teacher_memory;
    const auto teacher = models::make_model(config(4, 12, architecture()), "teacher");
    teacher->parameters().allocate(teacher_memory, DType::f32, false);
    teacher->parameters().initialize(1);
    std::filesystem::create_directory(folder / "teacher");
    models::save_model(*teacher, folder / "teacher");
    source.tokenizer().save(folder / "teacher");
    recipe.distillation.teacher = (folder / "teacher").string();
  }

  std::string architecture() const {
    return recipe.objective.kind == "classify" ? "BertForSequenceClassification" : "BertForMaskedLM";
  }

  std::unique_ptr<Objective> plain() const {
    if (recipe.objective.kind == "masked_language") return std::make_unique<MaskedLanguage>(false);
    return std::make_unique<Classify>(LabelTask::classification, std::vector<std::string>{"no", "maybe", "yes"}, 0);
  }

  void prepare(int64_t layers, int64_t width, uint64_t seed) {
    objective = std::make_unique<Distillation>(recipe, source, plain());
    student = models::make_model(config(layers, width, architecture()), "student");
    objective->add_parameters(*student);
    student->parameters().allocate(memory, DType::f32, true);
    student->parameters().initialize(seed);
    objective->start(*student, source);
  }

  Batch batch() {
    Batch made;
    source.load(0, 2, memory.activations, made);
    int32_t* ends = made.prepare("document_ends", {2, kTokens}, DType::i32, memory.activations).data<int32_t>();
    for (int64_t place = 0; place < 2 * kTokens; ++place) ends[place] = place % kTokens < 5 ? 5 : kTokens;
    const auto set = [&](const char* name, const std::vector<int32_t>& values) {
      made.tensors[name] = Tensor::from(values, {static_cast<int64_t>(values.size())}, memory.activations);
    };
    if (recipe.objective.kind == "classify") {
      set("labels", {2, 0, -100, 1});
      made.target_tokens = 3;
    } else {
      set("masked_rows", {1, 4, 7, 13, 20});
      set("targets", {3, 9, 1, 5, 2});
      made.target_tokens = 5;
    }
    return made;
  }

  ObjectiveResult run(const Objective& trained, const Batch& one) {
    student->parameters().forget_gradients();
    grad::Graph graph(memory.activations, memory.encodings, DType::f32, true);
    ObjectiveResult result = trained.evaluate(graph, *student, one, 1.0 / static_cast<double>(one.target_tokens));
    graph.backward(result.loss);
    for (const auto& entry : student->parameters().entries()) {
      if (!entry.parameter->has_gradient()) tensor::fill(entry.parameter->gradient(), 0.0);
    }
    return result;
  }
  std::vector<double> gradients() { return as_doubles(student->parameters().flat_gradients()); }
};

class EncoderDistillation : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Kinds, EncoderDistillation, testing::Values("masked_language", "classify"));

TEST_P(EncoderDistillation, WithoutAlphaIsPlainTrainingBitForBit) {
  EncoderSetting setting(GetParam());
  setting.recipe.distillation.alpha = 0.0;
  setting.prepare(2, 8, 2);
  const Batch batch = setting.batch();
  const double loss = tensor::sum(setting.run(*setting.objective, batch).token_losses);
  const std::vector<double> gradients = setting.gradients();
  EXPECT_EQ(tensor::sum(setting.run(*setting.plain(), batch).token_losses), loss);
  EXPECT_EQ(setting.gradients(), gradients);
}

TEST_P(EncoderDistillation, AStudentThatIsItsTeacherHasNothingToLearnFromIt) {
  EncoderSetting setting(GetParam());
  setting.recipe.distillation.alpha = 0.25;
  setting.prepare(4, 12, 1);
  const Batch batch = setting.batch();
  const Metrics metrics = setting.objective->report(setting.run(*setting.objective, batch).sums);
  EXPECT_NEAR(metrics.at("kl"), 0.0, 1e-6);
  EXPECT_EQ(metrics.at("agreement"), 1.0);
  const std::vector<double> gradients = setting.gradients();
  setting.run(*setting.plain(), batch);
  std::vector<double> expected = setting.gradients();
  for (double& value : expected) value *= 0.75;
  EXPECT_LT(test::relative_error(gradients, expected), 1e-5);
}

TEST_P(EncoderDistillation, TheGradientOfTinyBertsTermsIsThatOfTheLoss) {
  for (const double prediction_weight : {0.0, 1.0}) {
    EncoderSetting setting(GetParam());
    setting.recipe.distillation.prediction_weight = prediction_weight;
    setting.recipe.distillation.hidden_weight = 1.0;
    setting.recipe.distillation.attention_weight = 0.5;
    setting.recipe.distillation.embedding_weight = 0.5;
    setting.prepare(2, 8, 2);
    const Batch batch = setting.batch();
    const Metrics metrics = setting.objective->report(setting.run(*setting.objective, batch).sums);
    for (const char* name : {"hidden", "attention", "embedding"}) EXPECT_GT(metrics.at(name), 0.0) << name;
    const std::vector<double> gradients = setting.gradients();
    double squares = 0.0;
    for (const double value : gradients) squares += value * value;
    Tensor& values = setting.student->parameters().flat_values();
    const std::vector<double> kept = as_doubles(values);
    const auto loss_at = [&](double step) {
      for (size_t index = 0; index < kept.size(); ++index) {
        values.data<float>()[index] = static_cast<float>(kept[index] + step * gradients[index]);
      }
      setting.student->parameters().values_changed();
      return tensor::sum(setting.run(*setting.objective, batch).token_losses) /
             static_cast<double>(batch.target_tokens);
    };
    // Along the gradient the loss rises by its square; an f32 loss keeps seven digits, so the step is not small.
    const double step = 2e-3 / std::sqrt(squares);
    EXPECT_NEAR((loss_at(step) - loss_at(-step)) / (2 * step * squares), 1.0, 5e-3) << prediction_weight;
  }
}

}  // namespace
}  // namespace fledge::train
