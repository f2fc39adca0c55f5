// DPO, ORPO and KTO against their formulas in PyTorch (tests/reference/make_preference_data.py): losses and the
// gradients of all parameters of a small Llama, computed there one sequence at a time and here in packed rows.
#include "train/objectives/preference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/model_io.h"
#include "support/operation_check.h"
#include "support/reference_data.h"
#include "tensor/sum.h"
#include "train/data/chat_test_support.h"
#include "train/data/test_support.h"
#include "train/data/tokenizer_adapter.h"

namespace fledge::train {
namespace {

using tensor::DType;
using test::as_doubles;

/// The reference's pairs as prepared chats.
class PreferenceTest : public testing::Test {
 protected:
  PreferenceTest() : data_("preference") {
    const auto ids = data_.integers<int32_t>("ids"), lengths = data_.integers<int32_t>("lengths"),
               begins = data_.integers<int32_t>("begins"), labels = data_.integers<int32_t>("labels");
    chat_tokenizer()->save(folder_.path());
    ChatIndex index;
    index.tokenizer_hash = tokenizer_hash(nn::Tokenizer::load(folder_.path()));
    index.vocabulary_size = 43;
    for (const auto purpose : {ChatPurpose::preferences, ChatPurpose::judgements}) {
      index.purpose = purpose;
      const auto folder = folder_.path() / std::to_string(static_cast<int>(purpose));
      base::create_folder(folder);
      chat_tokenizer()->save(folder);
      ChatDataWriter writer(folder, index, size_t{1} << 20);
      size_t done = 0;
      for (size_t pair = 0; pair < labels.size(); ++pair) {
        std::vector<ChatTokens> sequences(2);
        for (size_t side = 0; side < 2; ++side) {
          const auto length = static_cast<size_t>(lengths[2 * pair + side]);
          sequences[side].ids.assign(ids.begin() + static_cast<int64_t>(done),
                                     ids.begin() + static_cast<int64_t>(done + length));
          sequences[side].trained = {{begins[pair], static_cast<int32_t>(length)}};
          done += length;
        }
        writer.append(kTrainSplit, sequences, purpose == ChatPurpose::judgements ? labels[pair] : -1);
      }
      writer.finish({}, {1});
    }
  }

  ChatSource source(const std::string& kind, int64_t row_length) const {
    Recipe recipe;
    recipe.objective.kind = kind;
    recipe.batch.sequence_length = row_length;
    return {recipe, folder_.path() / std::to_string(kind == "kto" ? 2 : 1), 40};
  }
  static models::LoadedModel load(DType type) {
    return models::load_model(std::filesystem::path(FLEDGE_REFERENCE_DIR) / "llama", type, true);
  }

  TemporaryFolder folder_;
  test::ReferenceData data_;
};

struct Variant {
  std::string name, kind;
  PreferenceOptions options;
};

TEST_F(PreferenceTest, LossesAndGradientsAreThoseOfTheFormulas) {
  for (const Variant& variant :
       {Variant{"dpo", "dpo", {0.3, 0.0, 1.0, 1.0}}, Variant{"dpo_smoothed", "dpo", {0.3, 0.1}},
        Variant{"orpo", "orpo", {0.2}}, Variant{"kto", "kto", {0.3, 0.0, 1.0, 1.5}}}) {
    // All pairs in one row, and rows of their own in one micro-batch.
    for (const int64_t row_length : {64, 24}) {
      for (const DType type : {DType::f64, DType::f32}) {
        SCOPED_TRACE(variant.name + " in " + std::string(tensor::name_of(type)));
        const double tolerance = type == DType::f64 ? 1e-6 : 1e-4;  // the reference's gradients are kept in f32
        models::LoadedModel loaded = load(type);
        const ChatSource chats = source(variant.kind, row_length);
        Preference objective(variant.kind, variant.options, chats);
        if (variant.kind != "orpo") objective.set_reference(data_.values<float>("reference"));
        Batch batch;
        chats.load(0, chats.samples_per_epoch(), loaded.memory->activations, batch);
        ASSERT_EQ(batch.target_tokens, 3);
        grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, type, true);
        const ObjectiveResult result = objective.evaluate(graph, *loaded.model, batch, 1.0 / 3.0);
        EXPECT_NEAR(tensor::sum(result.token_losses) / 3.0 / data_.value(variant.name + ".loss"), 1.0, tolerance);
        graph.backward(result.loss);
        for (const auto& entry : loaded.model->parameters().entries()) {
          const std::string& name = entry.parameter->name();
          EXPECT_LT(test::relative_error(as_doubles(entry.parameter->gradient()),
                                         data_.values<double>(variant.name + ".gradients." + name)),
                    tolerance)
              << name;
        }
      }
    }
  }
}

TEST_F(PreferenceTest, ReferenceIsComputedOnceAndKept) {
  const auto alone = tensor::make_single_process();
  const ChatSource chats = source("dpo", 24);
  models::LoadedModel loaded = load(DType::f32);
  const RunContext run{*loaded.model, *loaded.memory, DType::f32, chats, 2, folder_.path(), *alone};
  Preference first("dpo", {}, chats);
  first.begin(run);
  const std::vector<double> expected = data_.values<double>("log_probabilities");
  ASSERT_EQ(first.reference().size(), expected.size());
  for (size_t index = 0; index < expected.size(); ++index)
    EXPECT_NEAR(first.reference()[index] / expected[index], 1, 1e-5);
  // At the start the model is its reference: the loss is log 2, and no reward has grown.
  Batch batch;
  chats.load(0, chats.samples_per_epoch(), loaded.memory->activations, batch);
  grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, DType::f32, false);
  const ObjectiveResult result = first.evaluate(graph, *loaded.model, batch, 1.0);
  EXPECT_NEAR(tensor::sum(result.token_losses) / 3.0, std::log(2.0), 1e-5);
  const Metrics metrics = first.report(result.sums);
  EXPECT_NEAR(metrics.at("rewards_margin"), 0.0, 1e-5);
  EXPECT_EQ(metrics.size(), 4u);

  // The same model and data: read, not computed. Another model: computed again.
  const auto file = folder_ / "reference.safetensors";
  const auto written = std::filesystem::last_write_time(file);
  Preference second("dpo", {}, chats);
  second.begin(run);
  EXPECT_EQ(second.reference(), first.reference());
  EXPECT_EQ(std::filesystem::last_write_time(file), written);
  loaded.model->parameters().find("model.norm.weight")->value().data<float>()[0] *= 1.5F;
  loaded.model->parameters().values_changed();
  Preference third("dpo", {}, chats);
  third.begin(run);
  EXPECT_NE(third.reference(), first.reference());
}

TEST(PreferenceLoss, StaysFiniteAtTheEdges) {
  const std::vector<PairScores> extreme{
      {-1e5, 0.0, 0.0, -1e5, 3, 3, 1}, {0.0, -1e5, -1e5, 0.0, 3, 3, 0}, {0.0, 0.0, 0.0, 0.0, 0, 0, 1}};
  for (const char* kind : {"dpo", "orpo", "kto"}) {
    for (const PairLoss& loss : make_preference_loss(kind, {})->evaluate(extreme)) {
      EXPECT_TRUE(std::isfinite(loss.loss) && std::isfinite(loss.d_first) && std::isfinite(loss.d_second)) << kind;
    }
  }
  EXPECT_THROW(make_preference_loss("ppo", {}), base::UsageError);
}

}  // namespace
}  // namespace fledge::train
