#include "models/adapters/model_adapter.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "models/adapters/adapter_merge.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "tensor/elementwise.h"

namespace fledge::models {
namespace {

using base::Json;
using tensor::DType;
using tensor::Tensor;
using test::as_doubles;
using test::relative_error;
using testing::HasSubstr;

std::filesystem::path reference(const std::string& name) {
  return std::filesystem::path(FLEDGE_REFERENCE_DIR) / name;
}

LoadedModel load(const std::string& base, const std::vector<AdapterSource>& adapters, bool widen = false,
                 DType type = DType::f32) {
  return load_model(reference(base), {.type = type, .widen = widen, .adapters = adapters});
}

std::vector<double> logits_of(LoadedModel& loaded, DType type = DType::f32) {
  nn::Memory& memory = *loaded.memory;
  grad::Graph graph(memory.activations, memory.encodings, type, false);
  ForwardInput input;
  input.ids = Tensor::from(std::vector<int32_t>{1, 5, 2, 9, 30, 12, 7, 7, 0, 3}, {2, 5}, memory.activations);
  return as_doubles(logits(graph, *loaded.model, loaded.model->forward(graph, input).hidden).value());
}

const Json kConfig = {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 4}, {"target_modules", {"q_proj"}}};

Json with(const std::string& key, const Json& value) {
  Json json = kConfig;
  json[key] = value;
  return json;
}

template <typename Action>
void expect_error(const Action& action, const std::string& part) {
  try {
    action();
    ADD_FAILURE() << "nothing was refused: " << part;
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

/// Declares an adapter on the tiny Llama, or on another model.
void declare(const Json& json, const std::string& base = "llama") {
  const auto model = make_model(read_config(reference(base)), base);
  const ModelAdapter adapter(*model, AdapterConfig::from_json(json, "file"), "a", "file");
}

TEST(AdapterConfig, ComesBackAsItWasWritten) {
  for (const char* name : {"llama_lora", "llama_rslora", "llama_dora", "gpt2_lora", "bert_lora"}) {
    const AdapterConfig config = AdapterConfig::read(reference(std::string("adapters/") + name));
    const Json json = config.to_json();
    EXPECT_EQ(AdapterConfig::from_json(json, name).to_json(), json) << name;
  }
  const AdapterConfig config = AdapterConfig::read(reference("adapters/llama_lora"));
  EXPECT_EQ(config.rank_of("model.layers.1.mlp.down_proj"), 3);
  EXPECT_EQ(config.rank_of("model.layers.1.self_attn.q_proj"), 2);
  EXPECT_EQ(config.rank_of("model.layers.0.self_attn.q_proj"), 4);
  EXPECT_EQ(config.scale_of("model.layers.0.mlp.gate_proj"), 2.5);
  EXPECT_EQ(AdapterConfig::from_json(with("use_rslora", true), "file").scale_of("x"), 4.0 / std::sqrt(2.0));
}

TEST(AdapterConfig, RefusesWhatItCannotCompute) {
  expect_error([] { declare(with("peft_type", "IA3")); }, "LORA");
  expect_error([] { declare(with("bias", "all")); }, "bias");
  expect_error([] { declare(with("modules_to_save", {"lm_head"})); }, "modules_to_save");
  expect_error([] { declare(with("init_lora_weights", "pissa")); }, "pissa");
  expect_error([] { declare(with("use_qalora", true)); }, "use_qalora");
  expect_error([] { declare(with("r", 0)); }, "r is 0");
  expect_error([] { declare(with("r", "8")); }, "\"r\"");
  expect_error([] { declare(with("lora_dropout", 1.5)); }, "lora_dropout");
  expect_error([] { declare(with("target_modules", nullptr)); }, "target_modules");
  expect_error([] { declare(with("target_modules", {1})); }, "target_modules");
  expect_error([] { declare(with("target_modules", "((")); }, "file");
  expect_error([] { declare(with("rank_pattern", {{"q_proj", -1}})); }, "rank_pattern");
}

TEST(ModelAdapter, NamesWhatMatchesNothing) {
  expect_error([] { declare(with("target_modules", {"q_prjo"})); }, "did you mean q_proj?");
  expect_error(
      [] {
        declare(with("target_modules", {"q_proj", "model.layers.9.self_attn.k_proj"}));
      },
      "did you mean model.layers.");
  expect_error([] { declare(with("target_modules", "nothing.*")); }, "matches no layer");
  expect_error([] { declare(with("rank_pattern", {{"k_proj", 1}})); }, "did you mean q_proj?");
  expect_error([] { declare(with("r", 19)); }, "larger than the layer model.layers.0.self_attn.q_proj");
  expect_error([] { declare(with("target_modules", {"lm_head"}), "qwen2"); }, "shares its weight");
  expect_error([] { declare(with("target_modules", {"embed_tokens"}), "qwen2"); }, "shares its weight");
  expect_error([] { declare(with("target_modules", {"wte"}), "gpt2_gelu"); }, "shares its weight");
  expect_error([] { declare(with("target_modules", {"decoder"}), "bert_pretraining"); }, "shares its weight");
  declare(with("target_modules", {"lm_head", "embed_tokens"}));
  Json table = with("target_modules", {"embed_tokens"});
  table["use_dora"] = true;
  expect_error([&] { declare(table); }, "embedding");
}

TEST(ModelAdapter, FindsTheShortestNames) {
  const auto model = make_model(read_config(reference("bert_pretraining")), "bert");
  AdapterConfig config = AdapterConfig::from_json(with("target_modules", "all-linear"), "file");
  const auto all = targets_of(*model, config, "file");
  // "dense" alone would match the pooler and the head as well.
  const auto names = shortest_targets(*model, all);
  EXPECT_EQ(names.size(), all.size());
  const auto llama = make_model(read_config(reference("llama")), "llama");
  EXPECT_EQ(shortest_targets(*llama, targets_of(*llama, config, "file")),
            (std::vector<std::string>{"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}));
}

class WithFolder : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  /// A copy of an adapter whose configuration is changed.
  std::filesystem::path copy(const std::string& name, const std::string& key, const Json& value) {
    const std::filesystem::path from = reference("adapters/" + name);
    Json json = base::read_json(from / kAdapterConfigFile);
    json[key] = value;
    base::write_file(folder_ / kAdapterConfigFile, json.dump());
    base::write_file(folder_ / kAdapterWeightsFile, base::read_file(from / kAdapterWeightsFile));
    return folder_;
  }
  /// Of this test alone: several run at once.
  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("adapter_test_") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(WithFolder, RefusesFilesThatDoNotFit) {
  const auto open = [&](const std::filesystem::path& folder, const std::string& base = "llama") {
    load(base, {{"a", folder, 1.0}});
  };
  open(copy("llama_lora", "lora_dropout", 0.1));
  expect_error([&] { open(copy("llama_dora", "target_modules", {"q_proj", "v_proj"})); }, "belongs to no layer");
  expect_error([&] { open(copy("llama_dora", "use_dora", false)); }, "did you mean base_model.model.model.layers.0");
  expect_error([&] { open(copy("llama_lora", "use_dora", true)); }, "lora_magnitude_vector is missing");
  expect_error([&] { open(copy("llama_lora", "rank_pattern", Json::object())); }, "lora_A.weight");
  // Another base: the first tensor of another shape, and the model that the adapter was made for.
  expect_error([&] { open(reference("adapters/llama_dora"), "qwen3"); }, "was made for \"llama\"");
  base::write_file(folder_ / kAdapterWeightsFile, std::string("\x08\0\0\0\0\0\0\0{\"a\":1", 14));
  expect_error([&] { open(folder_); }, kAdapterWeightsFile);
  std::filesystem::remove(folder_ / kAdapterWeightsFile);
  expect_error([&] { open(folder_); }, kAdapterWeightsFile);
  expect_error([&] { open(folder_ / "none"); }, "expected the folder of an adapter");
}

TEST_F(WithFolder, ComesBackFromItsOwnFiles) {
  for (const auto& [name, base] :
       {std::pair{"llama_dora", "llama"}, {"gpt2_lora", "gpt2_gelu_new"}, {"llama_tables", "llama"}}) {
    LoadedModel first = load(base, {{"a", reference(std::string("adapters/") + name), 1.0}});
    first.adapters[0]->save(folder_);
    LoadedModel second = load(base, {{"b", folder_, 1.0}});
    EXPECT_EQ(logits_of(first), logits_of(second));
  }
}

TEST_F(WithFolder, BeginsWithoutEffect) {
  for (const bool dora : {false, true}) {
    Json json = with("target_modules",
                     dora ? Json{"q_proj", "k_proj", "down_proj"} : Json{"q_proj", "embed_tokens", "lm_head"});
    json["use_dora"] = dora;
    const auto model = make_model(read_config(reference("llama")), "llama");
    nn::Memory memory;
    model->parameters().freeze();
    ModelAdapter adapter(*model, AdapterConfig::from_json(json, "file"), "a", "file");
    model->parameters().allocate(memory, DType::f32, true);
    read_values(*model, reference("llama"));
    adapter.initialize(5, memory);
    adapter.save(folder_);
    LoadedModel plain = load("llama", {}), adapted = load("llama", {{"a", folder_, 1.0}});
    EXPECT_EQ(logits_of(plain), logits_of(adapted));
  }
}

TEST_F(WithFolder, MergedEqualsUnmerged) {
  const auto path = [](const char* name) { return reference(std::string("adapters/") + name); };
  const std::vector<std::pair<std::string, std::vector<AdapterSource>>> cases{
      {"llama", {{"a", path("llama_lora"), 1.0}}},
      {"llama", {{"a", path("llama_dora"), 1.0}}},
      {"llama", {{"a", path("llama_lora"), 0.5}, {"b", path("llama_rslora"), -0.75}, {"c", path("llama_tables"), 2.0}}},
      {"llama", {{"a", path("llama_dora"), 0.5}, {"b", path("llama_lora"), 0.25}}},
      {"gpt2_gelu_new", {{"a", path("gpt2_lora"), 1.0}, {"b", path("gpt2_dora"), 1.0}}},
      {"bert_pretraining", {{"a", path("bert_lora"), 1.0}}}};
  for (const auto& [base, adapters] : cases) {
    for (const DType type : {DType::f64, DType::f32}) {
      LoadedModel loaded = load(base, adapters, true, type);
      const auto before = logits_of(loaded, type);
      const MergeReport report = merge_adapters(loaded);
      EXPECT_GT(report.relative_change, 0.01);
      // f32: two blocks of some hundred sums, each rounded to 2^-24.
      EXPECT_LT(relative_error(logits_of(loaded, type), before), type == DType::f64 ? 1e-13 : 3e-6) << base;
      if (type == DType::f64) continue;
      std::filesystem::create_directories(folder_ / "merged");
      save_model(*loaded.model, folder_ / "merged");
      LoadedModel again = load_model(folder_ / "merged", DType::f32, false);
      EXPECT_EQ(logits_of(again), logits_of(loaded)) << base;
    }
  }
}

TEST(ModelAdapter, IsSwitchedOffAndWeighted) {
  LoadedModel plain = load("llama", {});
  LoadedModel loaded =
      load("llama", {{"a", reference("adapters/llama_lora"), 1.0}, {"b", reference("adapters/llama_lora"), -1.0}});
  // The same change once added and once taken away.
  EXPECT_LT(relative_error(logits_of(loaded), logits_of(plain)), 3e-6);
  loaded.adapters[1]->identity().weight = 0.0;
  EXPECT_GT(relative_error(logits_of(loaded), logits_of(plain)), 1e-2);
  loaded.adapters[0]->identity().weight = 0.0;
  EXPECT_EQ(logits_of(loaded), logits_of(plain));
}

}  // namespace
}  // namespace fledge::models
