#pragma once

#include <memory>
#include <vector>

#include "support/operation_check.h"
#include "tensor/elementwise.h"
#include "tensor/sum.h"
#include "train/data/test_support.h"
#include "train/objectives/distillation/distillation.h"

/// A student, its teacher in a folder, and random data: what the tests of distillation share.
namespace fledge::train::distillation_testing {

using tensor::DType;
using test::as_doubles;

inline constexpr int64_t kTokens = 12;

inline std::filesystem::path reference_tokenizer(const std::string& name) {
  return std::filesystem::path(FLEDGE_REFERENCE_DIR) / "tokenizer" / name;
}

/// Random tokens in two packed documents a row.
class RandomSource : public BatchSource {
 public:
  explicit RandomSource(const std::string& tokenizer)
      : folder_(reference_tokenizer(tokenizer)), tokenizer_(nn::Tokenizer::load(folder_)) {}

  const nn::Tokenizer& tokenizer() const override { return tokenizer_; }
  const std::filesystem::path& tokenizer_folder() const override { return folder_; }
  int32_t end_of_text_id() const override { return 0; }
  std::string identity() const override { return "random"; }
  int64_t training_tokens() const override { return 100 * kTokens; }
  int64_t samples_per_epoch() const override { return 100; }
  void load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const override {
    batch.target_tokens = 0;
    const auto tensor_of = [&](const char* name) {
      return batch.prepare(name, {rows, kTokens}, DType::i32, arena).data<int32_t>();
    };
    int32_t *ids = tensor_of("ids"), *targets = tensor_of("targets"), *starts = tensor_of("document_starts"),
            *positions = tensor_of("positions");
    const base::Random random(5, 6);
    for (int64_t place = 0; place < rows * kTokens; ++place) {
      const auto vocabulary = static_cast<uint64_t>(tokenizer_.vocabulary_size());
      const auto number = static_cast<uint64_t>(first_sample * kTokens + place);
      ids[place] = static_cast<int32_t>(random.below(vocabulary, 2 * number));
      const bool ignored = number % 7 == 2;
      targets[place] = ignored ? kIgnoredTarget : static_cast<int32_t>(random.below(vocabulary, 2 * number + 1));
      const int64_t in_row = place % kTokens;
      starts[place] = in_row < 5 ? 0 : 5;
      positions[place] = static_cast<int32_t>(in_row) - starts[place];
      batch.target_tokens += ignored ? 0 : 1;
    }
  }
  int64_t evaluation_batches(int64_t) const override { return 0; }
  void load_evaluation(int64_t, int64_t, tensor::Arena&, Batch&) const override {}
  void shape(int64_t, tensor::Arena&, Batch&) const override {}

 private:
  std::filesystem::path folder_;
  nn::Tokenizer tokenizer_;
};

/// A teacher in a folder, a student, and what a step of it needs.
struct Setting {
  RandomSource source{"gpt2"};
  TemporaryFolder folder;
  Recipe recipe;
  nn::Memory memory;
  std::unique_ptr<models::LanguageModel> student;
  std::unique_ptr<Objective> objective;

  base::Json config(int64_t layers, int64_t width, int64_t heads) const {
    return {{"model_type", "gpt2"}, {"vocab_size", source.tokenizer().vocabulary_size()},
            {"n_positions", 16},    {"n_layer", layers},
            {"n_embd", width},      {"n_head", heads},
            {"embd_pdrop", 0.0},    {"attn_pdrop", 0.0},
            {"resid_pdrop", 0.0},   {"initializer_range", 0.2}};
  }

  Setting() {
    nn::Memory teacher_memory;
    const auto teacher = models::make_model(config(4, 12, 2), "teacher");
    teacher->parameters().allocate(teacher_memory, DType::f32, false);
    teacher->parameters().initialize(1);
    std::filesystem::create_directory(folder / "teacher");
    models::save_model(*teacher, folder / "teacher");
    source.tokenizer().save(folder / "teacher");
    recipe.distillation.teacher = (folder / "teacher").string();
  }

  /// A student of this shape, trained by the recipe as it now stands.
  void prepare(int64_t layers, int64_t width, int64_t heads, uint64_t seed = 2) {
    objective = make_objective(recipe, source);
    student = models::make_model(config(layers, width, heads), "student");
    objective->add_parameters(*student);
    student->parameters().allocate(memory, DType::f32, true);
    student->parameters().initialize(seed);
    objective->start(*student, source);
  }

  Batch batch(int64_t first, int64_t rows) {
    Batch made;
    source.load(first, rows, memory.activations, made);
    return made;
  }

  struct Outcome {
    double loss = 0.0;
    Sums sums;
  };

  /// Forward and backward of some batches; gradients stay in the student.
  Outcome run(const std::vector<Batch>& batches, const Objective& trained, DType type = DType::f32) {
    student->parameters().forget_gradients();
    double targets = 0.0;
    for (const Batch& one : batches) targets += static_cast<double>(one.target_tokens);
    Outcome outcome;
    for (const Batch& one : batches) {
      grad::Graph graph(memory.activations, memory.encodings, type, true);
      const ObjectiveResult result = trained.evaluate(graph, *student, one, 1.0 / targets);
      outcome.loss += tensor::sum(result.token_losses) / targets;
      add_sums(outcome.sums, result.sums);
      graph.backward(result.loss);
    }
    for (const auto& entry : student->parameters().entries()) {
      if (!entry.parameter->has_gradient()) tensor::fill(entry.parameter->gradient(), 0.0);
    }
    return outcome;
  }

  std::vector<double> gradients() const {
    return as_doubles(const_cast<Setting*>(this)->student->parameters().flat_gradients());
  }
};

}  // namespace fledge::train::distillation_testing
