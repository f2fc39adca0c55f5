#include "train/objectives/distillation/layer_map.h"
#include "base/json.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "train/data/test_support.h"
#include "train/layer_selection.h"

namespace fledge::train {
namespace {

using testing::HasSubstr;

TEST(LayerMap, PairsBlocks) {
  using Pairs = std::vector<LayerPair>;
  EXPECT_EQ(parse_layer_map({"0:0", "2:5"}, 3, 6), (Pairs{{0, 0}, {2, 5}}));
  // TinyBERT: four blocks of twelve, the third, the sixth, the ninth and the twelfth.
  EXPECT_EQ(parse_layer_map({"uniform"}, 4, 12), (Pairs{{0, 2}, {1, 5}, {2, 8}, {3, 11}}));
  EXPECT_EQ(parse_layer_map({"uniform"}, 3, 3), (Pairs{{0, 0}, {1, 1}, {2, 2}}));
  EXPECT_EQ(parse_layer_map({"last"}, 3, 6), (Pairs{{2, 5}}));
}

TEST(LayerMap, RefusesWhatPointsNowhere) {
  const auto error = [](const std::vector<std::string>& entries, int64_t student, int64_t teacher) {
    return error_of([&] { parse_layer_map(entries, student, teacher); });
  };
  EXPECT_THAT(error({"0:6"}, 3, 6), HasSubstr("\"0:6\", but the teacher has 6 blocks, 0 to 5"));
  EXPECT_THAT(error({"3:0"}, 3, 6), HasSubstr("\"3:0\", but the student has 3 blocks, 0 to 2"));
  for (const char* entry : {"", "1", "a:b", "1:", ":1", "-1:2", "1:2:3", "uniform "}) {
    EXPECT_THAT(error({entry}, 3, 6), HasSubstr("must hold pairs")) << entry;
  }
  EXPECT_THAT(error({"uniform", "last"}, 3, 6), HasSubstr("must hold pairs"));
  EXPECT_THAT(error({"uniform"}, 4, 3), HasSubstr("at least as many blocks"));
  EXPECT_THAT(error({}, 4, 3), HasSubstr("is empty"));
}

TEST(LayerMap, ReadsShapesOfAllFamilies) {
  const ModelShape gpt2 = shape_of({{"n_layer", 3}, {"n_embd", 16}, {"n_head", 2}}, "x");
  EXPECT_EQ(gpt2.layers, 3);
  EXPECT_EQ(gpt2.width, 16);
  EXPECT_EQ(gpt2.heads, 2);
  const ModelShape other = shape_of({{"num_hidden_layers", 5}, {"hidden_size", 8}, {"num_attention_heads", 4}}, "x");
  EXPECT_EQ(other.layers, 5);
  EXPECT_EQ(other.width, 8);
  EXPECT_EQ(other.heads, 4);
  EXPECT_THAT(error_of([] { shape_of({{"n_layer", 3}}, "the file"); }), HasSubstr("the file"));
}

TEST(BlockList, IsReadAndChecked) {
  EXPECT_EQ(parse_block_list({}, 12), (std::vector<int64_t>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(parse_block_list({}, 3), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(parse_block_list({"1", "5"}, 6), (std::vector<int64_t>{1, 5}));
  const auto error = [](const std::vector<std::string>& entries) {
    return error_of([&] { parse_block_list(entries, 6); });
  };
  EXPECT_THAT(error({"6"}), HasSubstr("\"6\", but model.layers_from has the blocks 0 to 5"));
  EXPECT_THAT(error({"x"}), HasSubstr("blocks 0 to 5"));
  EXPECT_THAT(error({"2", "1"}), HasSubstr("1 behind 2"));
  EXPECT_THAT(error({"2", "2"}), HasSubstr("2 behind 2"));
}

base::Json config_of(const std::string& family) {
  if (family == "gpt2") {
    return {{"model_type", "gpt2"}, {"vocab_size", 19}, {"n_positions", 8},
            {"n_embd", 8},          {"n_layer", 4},     {"n_head", 2}};
  }
  if (family == "bert") {
    return {{"model_type", "bert"},    {"architectures", {"BertForMaskedLM"}},
            {"vocab_size", 19},        {"hidden_size", 8},
            {"num_hidden_layers", 4},  {"num_attention_heads", 2},
            {"intermediate_size", 16}, {"max_position_embeddings", 8},
            {"type_vocab_size", 2}};
  }
  return {{"model_type", "llama"},    {"vocab_size", 19},
          {"hidden_size", 8},         {"intermediate_size", 24},
          {"num_hidden_layers", 4},   {"num_attention_heads", 2},
          {"num_key_value_heads", 1}, {"max_position_embeddings", 8},
          {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", false}};
}

class CopiedBlocks : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, CopiedBlocks, testing::Values("gpt2", "llama", "bert"));

/// The values of the parameters whose name holds `part`, one after another.
std::vector<double> values_of(const models::LanguageModel& model, const std::string& part) {
  std::vector<double> values;
  for (const auto& entry : model.parameters().entries()) {
    if (entry.parameter->name().find(part) == std::string::npos) continue;
    const std::vector<double> own = test::as_doubles(entry.parameter->value());
    values.insert(values.end(), own.begin(), own.end());
  }
  return values;
}

TEST_P(CopiedBlocks, AreThoseOfTheList) {
  const base::Json config = config_of(GetParam());
  const std::vector<int64_t> blocks{1, 3};
  nn::Memory memory;
  const auto make = [&](const base::Json& from, uint64_t seed) {
    auto model = models::make_model(from, "test");
    model->parameters().allocate(memory, tensor::DType::f32, false);
    model->parameters().initialize(seed);
    return model;
  };
  const auto teacher = make(config, 1), student = make(config_with_blocks(config, blocks, "test"), 2);
  copy_blocks(*teacher, blocks, *student, {});
  const std::string block = GetParam() == "gpt2" ? ".h." : GetParam() == "bert" ? ".layer." : ".layers.";
  for (size_t index = 0; index < blocks.size(); ++index) {
    const std::vector<double> own = values_of(*student, fmt::format("{}{}.", block, index));
    EXPECT_EQ(own, values_of(*teacher, fmt::format("{}{}.", block, blocks[index])));
    EXPECT_GT(own.size(), 100u);
  }
  EXPECT_TRUE(values_of(*student, block + "2.").empty());
  const std::string table = GetParam() == "gpt2" ? "wte" : GetParam() == "bert" ? "word_embeddings" : "embed_tokens";
  EXPECT_EQ(values_of(*student, table), values_of(*teacher, table));
}

TEST(CopiedBlocks, ShortenListsOfTheConfiguration) {
  const base::Json config = config_with_blocks(
      {{"num_hidden_layers", 4}, {"layer_types", {"a", "b", "c", "d"}}, {"architectures", {"X"}}}, {1, 3}, "test");
  EXPECT_EQ(config["num_hidden_layers"], 2);
  EXPECT_EQ(config["layer_types"], base::Json({"b", "d"}));
  EXPECT_EQ(config["architectures"], base::Json({"X"}));
}

TEST(CopiedBlocks, MissAParameterOnlyWhereAllowed) {
  nn::Memory memory;
  base::Json encoder = config_of("bert");
  encoder["architectures"] = {"BertModel"};
  auto teacher = models::make_model(encoder, "test"), student = models::make_model(config_of("bert"), "test");
  for (models::LanguageModel* model : {teacher.get(), student.get()}) {
    model->parameters().allocate(memory, tensor::DType::f32, false);
    model->parameters().initialize(1);
  }
  EXPECT_THAT(error_of([&] {
                copy_blocks(*teacher, {0, 1, 2, 3}, *student, {});
              }),
              HasSubstr("model.layers_from: the model has no tensor cls.predictions"));
  copy_blocks(*teacher, {0, 1, 2, 3}, *student, [](const std::string& name) { return name.starts_with("cls."); });
  EXPECT_EQ(values_of(*student, "word_embeddings"), values_of(*teacher, "word_embeddings"));
}

}  // namespace
}  // namespace fledge::train
