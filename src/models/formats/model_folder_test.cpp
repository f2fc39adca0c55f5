#include "models/formats/model_folder.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace fledge::models {
namespace {

using tensor::Arena;
using tensor::bf16;
using tensor::DType;
using tensor::Tensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class ModelFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / fmt::format("fledge-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Tensor values(std::vector<float> numbers) {
    return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())}, arena_);
  }
  SafetensorsReader stored(const std::vector<std::string>& names) {
    std::vector<NamedTensor> tensors;
    for (const std::string& name : names) tensors.push_back({name, values({static_cast<float>(tensors.size())})});
    write_safetensors(folder_ / kWeightsFile, tensors);
    return SafetensorsReader::open(folder_ / kWeightsFile);
  }

  std::filesystem::path folder_;
  Arena arena_{"test"};
};

template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

TEST_F(ModelFolderTest, ReadsWhatItWrites) {
  const base::Json config{{"n_layer", 2}, {"model_type", "gpt2"}, {"layer_norm_epsilon", 1e-5}, {"name", "é"}};
  write_pretty_json(folder_ / kConfigFile, config);
  EXPECT_EQ(
      base::read_file(folder_ / kConfigFile),
      "{\n  \"layer_norm_epsilon\": 1e-05,\n  \"model_type\": \"gpt2\",\n  \"n_layer\": 2,\n  \"name\": \"é\"\n}\n");
  ModelFolder folder = ModelFolder::open(folder_);
  EXPECT_EQ(folder.config(), config);
  EXPECT_EQ(folder.model_type(), "gpt2");
  EXPECT_EQ(folder.generation_config(), base::Json::object());
  EXPECT_THAT(error_of([&] { folder.tokenizer(); }), HasSubstr("holds no tokenizer.json"));
  EXPECT_THAT(error_of([&] { folder.weights(); }), HasSubstr("holds neither model.safetensors"));

  write_pretty_json(folder_ / kGenerationConfigFile, {{"eos_token_id", 7}});
  base::write_file(folder_ / kTokenizerFile, "{}");
  stored({"w"});
  folder = ModelFolder::open(folder_);
  EXPECT_EQ(folder.generation_config()["eos_token_id"], 7);
  EXPECT_EQ(folder.tokenizer(), folder_ / kTokenizerFile);
  EXPECT_THAT(folder.weights().names(), ElementsAre("w"));
}

TEST_F(ModelFolderTest, SaysWhatIsWrongWithAFolder) {
  const auto fault = [&] { return error_of([&] { ModelFolder::open(folder_).model_type(); }); };
  EXPECT_THAT(error_of([&] { ModelFolder::open(folder_ / "none"); }), HasSubstr("none: there is no such folder"));
  EXPECT_THAT(fault(), HasSubstr("holds no config.json"));
  base::write_file(folder_ / kConfigFile, "[]");
  EXPECT_THAT(fault(), HasSubstr("config.json: holds no JSON object"));
  base::write_file(folder_ / kConfigFile, "{");
  EXPECT_THAT(fault(), HasSubstr("config.json: not valid JSON"));
  base::write_file(folder_ / kConfigFile, "{}");
  EXPECT_THAT(fault(), HasSubstr("config.json: the key \"model_type\" is missing"));
  base::write_file(folder_ / kConfigFile, R"({"model_type":"gpt2"})");
  base::write_file(folder_ / kGenerationConfigFile, "7");
  EXPECT_THAT(fault(), HasSubstr("generation_config.json: holds no JSON object"));
  EXPECT_THAT(error_of([&] { write_pretty_json(folder_ / kConfigFile, {{"a", "\xff"}}); }), HasSubstr("not UTF-8"));
}

const WeightNames kGpt2{{"transformer."}, {"attn.bias", "attn.masked_bias"}, {"lm_head.weight"}};
const std::vector<std::string> kExpected{"wte.weight", "h.0.attn.c_attn.bias", "lm_head.weight"};

TEST_F(ModelFolderTest, MatchesNamesWithAndWithoutPrefix) {
  EXPECT_THAT(match_names(stored({"wte.weight", "h.0.attn.c_attn.bias"}), kExpected, kGpt2),
              ElementsAre(Pair("h.0.attn.c_attn.bias", "h.0.attn.c_attn.bias"), Pair("wte.weight", "wte.weight")));
  EXPECT_THAT(match_names(stored({"transformer.wte.weight", "transformer.h.0.attn.bias", "lm_head.weight",
                                  "transformer.h.0.attn.masked_bias", "transformer.h.0.attn.c_attn.bias"}),
                          kExpected, kGpt2),
              ElementsAre(Pair("h.0.attn.c_attn.bias", "transformer.h.0.attn.c_attn.bias"),
                          Pair("lm_head.weight", "lm_head.weight"), Pair("wte.weight", "transformer.wte.weight")));
}

TEST_F(ModelFolderTest, ListsMissingAndUnexpectedTensors) {
  const auto fault = [&](const std::vector<std::string>& names) {
    return error_of([&] { match_names(stored(names), kExpected, kGpt2); });
  };
  EXPECT_THAT(fault({"wte.weight"}),
              AllOf(HasSubstr("model.safetensors: 1 tensor is missing (\"h.0.attn.c_attn.bias\");"),
                    ::testing::Not(HasSubstr("unexpected"))));
  EXPECT_THAT(fault({"a", "b", "c", "d", "e", "f", "wte.weight"}),
              HasSubstr("1 tensor is missing (\"h.0.attn.c_attn.bias\") and 6 tensors are unexpected "
                        "(\"a\", \"b\", \"c\", \"d\", \"e\", ...)"));
  EXPECT_THAT(fault({"h.0.attn.c_attn.bias", "wte.weight", "h.0.cattn.bias"}),
              HasSubstr(": 1 tensor is unexpected (\"h.0.cattn.bias\")"));
  EXPECT_THAT(fault({"wte.weight", "transformer.wte.weight"}),
              HasSubstr("\"wte.weight\" and \"transformer.wte.weight\" are the same parameter"));
}

TEST_F(ModelFolderTest, FillsTargets) {
  const auto reader = stored({"transformer.wte.weight", "transformer.h.0.attn.c_attn.bias"});
  const Tensor embedding = values({-1}), head = values({-1});
  const Tensor bias = Tensor::from<bf16>({bf16::from(-1)}, {1}, arena_);
  const std::vector<NamedTensor> targets{{kExpected[0], embedding}, {kExpected[1], bias}, {kExpected[2], head}};
  EXPECT_THAT(read_weights(reader, targets, kGpt2), ElementsAre("lm_head.weight"));
  EXPECT_EQ(embedding.to_vector<float>()[0], 0);
  EXPECT_EQ(static_cast<float>(bias.to_vector<bf16>()[0]), 1);
  EXPECT_EQ(head.to_vector<float>()[0], -1);
  const std::vector<NamedTensor> wrong{{kExpected[0], values({1, 2})}, {kExpected[1], bias}};
  EXPECT_THAT(error_of([&] { read_weights(reader, wrong, kGpt2); }),
              HasSubstr("tensor \"transformer.wte.weight\" has the shape [1], expected [2]"));
}

}  // namespace
}  // namespace fledge::models
