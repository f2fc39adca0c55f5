// One optimizer step, against PyTorch's AdamW over ten steps (tests/reference) and against itself in parts.
#include "train/training_step.h"
#include "base/error.h"
#include "base/json.h"

#include <limits>

#include "models/model_io.h"
#include "support/operation_check.h"
#include "support/reference_data.h"
#include "train/objectives/next_token.h"

namespace fledge::train {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::as_doubles;
using test::ReferenceData;

/// The reference model and everything that a step needs. The reference was computed without dropout.
struct Fixture {
  nn::Memory memory;
  std::unique_ptr<models::LanguageModel> model;
  NextToken objective;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<tensor::ProcessGroup> alone = tensor::make_single_process();
  std::unique_ptr<TrainingStep> step;

  Fixture(const std::string& name, DType type) {
    const auto folder = std::filesystem::path(FLEDGE_REFERENCE_DIR) / name;
    base::Json config = base::read_json(folder / "config.json");
    for (const char* key : {"embd_pdrop", "attn_pdrop", "resid_pdrop"}) config[key] = 0.0;
    model = models::make_model(config, name);
    model->parameters().allocate(memory, type == DType::f64 ? DType::f64 : DType::f32, true);
    models::load_weights(*model, models::SafetensorsReader::open_model(folder));
    // Learning rate 1e-3 (given to run), betas 0.9 and 0.95, epsilon 1e-8, decay 0.1 of matrices, clipping at 1.
    optimizer = std::make_unique<AdamW>(model->parameters(), memory, OptimizerOptions{0.9, 0.95, 1e-8, 0.1}, 0,
                                        model->parameters().flat_size());
    step = std::make_unique<TrainingStep>(*model, memory, objective, *optimizer, *alone,
                                          StepOptions{.activation_type = type, .clip_norm = 1.0});
  }

  Batch batch(const ReferenceData& data, size_t index, int64_t first_row, int64_t rows) {
    const tensor::Shape all = data.shape("steps.ids");
    const auto part = [&](const std::string& name) {
      const std::vector<int32_t> values = data.integers<int32_t>(name);
      const auto begin = values.begin() + (static_cast<int64_t>(index) * all[1] + first_row) * all[2];
      return std::vector<int32_t>(begin, begin + rows * all[2]);
    };
    Batch batch;
    const std::vector<int32_t> targets = part("steps.targets");
    batch.tensors["ids"] = Tensor::from(part("steps.ids"), {rows, all[2]}, memory.activations);
    batch.tensors["targets"] = Tensor::from(targets, {rows, all[2]}, memory.activations);
    batch.target_tokens = std::ranges::count_if(targets, [](int32_t target) { return target >= 0; });
    return batch;
  }
};

class TenSteps : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, TenSteps, testing::Values("gpt2_gelu_new", "gpt2_gelu"));

TEST_P(TenSteps, FollowPyTorch) {
  const ReferenceData data(GetParam() + "_reference");
  const std::vector<double> losses = data.values<double>("steps.losses");
  const std::vector<double> norms = data.values<double>("steps.gradient_norms");
  for (const DType type : {DType::f64, DType::f32}) {
    SCOPED_TRACE(std::string(tensor::name_of(type)));
    Fixture fixture(GetParam(), type);
    for (size_t index = 0; index < losses.size(); ++index) {
      const Batch batch = fixture.batch(data, index, 0, 2);
      const int64_t first_sample = 0;
      const StepResult result =
          fixture.step->run(static_cast<int64_t>(index), std::span(&batch, 1), std::span(&first_sample, 1), 1e-3);
      EXPECT_NEAR(result.loss / losses[index], 1.0, 1e-5) << index;
      EXPECT_NEAR(result.gradient_norm / norms[index], 1.0, 1e-4) << index;
    }
    // Adam divides by the gradient's own size: where a gradient is rounding alone (a key's bias) its direction is too,
    // so tensors are compared by norm, and c_attn's biases are left to the losses.
    for (const auto& entry : fixture.model->parameters().entries()) {
      const std::string& name = entry.parameter->name();
      if (name.ends_with("c_attn.bias")) continue;
      EXPECT_LT(test::relative_error(as_doubles(entry.parameter->value()), data.values<double>("after." + name)), 1e-4)
          << name;
    }
  }
}

TEST(TrainingStep, MicroBatchesEqualTheLargeBatch) {
  const ReferenceData data("gpt2_gelu_new_reference");
  const auto run = [&](bool split) {
    Fixture fixture("gpt2_gelu_new", DType::f64);
    std::vector<Batch> batches;
    // Batch 1 ignores some targets, so the rows do not count alike: dividing by micro-batches would show.
    if (split) {
      batches.push_back(fixture.batch(data, 1, 0, 1));
      batches.push_back(fixture.batch(data, 1, 1, 1));
    } else {
      batches.push_back(fixture.batch(data, 1, 0, 2));
    }
    const std::vector<int64_t> first_samples{0, 1};
    const StepResult result = fixture.step->run(0, batches, std::span(first_samples).first(batches.size()), 1e-3);
    std::vector<double> values = as_doubles(fixture.model->parameters().flat_gradients());
    values.push_back(result.loss);
    return values;
  };
  EXPECT_LT(test::relative_error(run(true), run(false)), 1e-12);
}

TEST(TrainingStep, StopsBeforeAnythingChangesWhereSomethingIsNotFinite) {
  const ReferenceData data("gpt2_gelu_new_reference");
  Fixture fixture("gpt2_gelu_new", DType::f32);
  grad::Parameter* poisoned = fixture.model->parameters().find("transformer.h.1.ln_2.bias");
  ASSERT_NE(poisoned, nullptr);
  poisoned->value().data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  poisoned->value_changed();
  const grad::Parameter* other = fixture.model->parameters().find("transformer.wte.weight");
  const std::vector<float> before = other->value().to_vector<float>();
  const Batch batch = fixture.batch(data, 0, 0, 2);
  const int64_t first_sample = 0;
  try {
    fixture.step->run(41, std::span(&batch, 1), std::span(&first_sample, 1), 1e-3);
    FAIL() << "a NaN went through";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("step 41"));
    EXPECT_THAT(error.what(), testing::HasSubstr("transformer.h.1.ln_2.bias"));
  }
  EXPECT_EQ(other->value().to_vector<float>(), before);
}

}  // namespace
}  // namespace fledge::train
