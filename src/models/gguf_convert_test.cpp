#include "models/gguf_convert.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "models/gguf_model.h"
#include "models/gguf_tokenizer.h"

namespace fledge::models {
namespace {

using base::Json;
using tensor::Shape;

const std::filesystem::path kGpt2 = std::filesystem::path(FLEDGE_REFERENCE_DIR) / "gpt2_gelu_new";

class GgufConvertTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / fmt::format("fledge-convert-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

void expect_same_values(const LanguageModel& a, const LanguageModel& b) {
  ASSERT_EQ(a.parameters().entries().size(), b.parameters().entries().size());
  for (const auto& entry : a.parameters().entries()) {
    const grad::Parameter* other = b.parameters().find(entry.parameter->name());
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(entry.parameter->value().to_vector<float>(), other->value().to_vector<float>())
        << entry.parameter->name();
  }
}

TEST_F(GgufConvertTest, Gpt2ComesBackBitForBit) {
  const LoadedModel original = load_model(kGpt2, tensor::DType::f32, true);
  write_gguf(kGpt2, folder_ / "model.gguf", nullptr);
  const LoadedModel read = load_model(folder_ / "model.gguf", tensor::DType::f32, true);
  expect_same_values(*original.model, *read.model);
  write_hugging_face(folder_ / "model.gguf", folder_ / "again");
  const LoadedModel again = load_model(folder_ / "again", tensor::DType::f32, true);
  expect_same_values(*original.model, *again.model);
}

TEST_F(GgufConvertTest, AHeadOfItsOwnComputesTheSame) {
  const std::filesystem::path tied = std::filesystem::path(FLEDGE_REFERENCE_DIR) / "qwen2";
  write_gguf(tied, folder_ / "model.gguf", nullptr);
  for (const auto& source : {tied, folder_ / "model.gguf"}) {
    write_hugging_face(source, folder_ / "untied", {}, true);
    const LoadedModel before = load_model(source, tensor::DType::f32, true);
    const LoadedModel after = load_model(folder_ / "untied", tensor::DType::f32, true);
    const grad::Parameter* head = after.model->parameters().find("lm_head.weight");
    ASSERT_NE(head, nullptr);
    EXPECT_EQ(head->value().to_vector<float>(), before.model->head().weight->value().to_vector<float>());
    EXPECT_EQ(before.model->parameters().find("lm_head.weight"), nullptr);
    // One that has it already is copied as it is.
    write_hugging_face(folder_ / "untied", folder_ / "again", {}, true);
    expect_same_values(*after.model, *load_model(folder_ / "again", tensor::DType::f32, true).model);
  }
  EXPECT_THROW(write_hugging_face(kGpt2, folder_ / "none", {}, true), base::Error);
}

TEST_F(GgufConvertTest, TheSameModelGivesTheSameBytes) {
  write_gguf(kGpt2, folder_ / "a.gguf", gguf_type_named("f16"));
  write_gguf(kGpt2, folder_ / "b.gguf", gguf_type_named("f16"));
  EXPECT_EQ(base::read_file(folder_ / "a.gguf"), base::read_file(folder_ / "b.gguf"));
}

TEST_F(GgufConvertTest, FindsTheFileOfAFolder) {
  EXPECT_EQ(find_gguf(kGpt2), "");
  EXPECT_EQ(find_gguf(folder_), "");
  write_gguf(kGpt2, folder_ / "a.gguf", nullptr);
  EXPECT_EQ(find_gguf(folder_), folder_ / "a.gguf");
  EXPECT_EQ(find_gguf(folder_ / "a.gguf"), folder_ / "a.gguf");
  write_gguf(kGpt2, folder_ / "b.gguf", nullptr);
  EXPECT_THROW(find_gguf(folder_), base::Error);
}

/// Llama with its positions scaled, a window, biases and a window in one layer, a norm of heads, learned positions, an
/// encoder.
class GgufRoundTrip : public GgufConvertTest, public ::testing::WithParamInterface<const char*> {
 protected:
  /// Hidden states of a text that is longer than the windows.
  static std::vector<float> hidden_states(const LoadedModel& loaded) {
    grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, tensor::DType::f32, false);
    std::vector<int32_t> ids(18);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7 % 30);
    ForwardInput input;
    input.ids = tensor::Tensor::from(ids, {1, 18}, loaded.memory->activations);
    return loaded.model->forward(graph, input).hidden.value().to_vector<float>();
  }
};
INSTANTIATE_TEST_SUITE_P(Models, GgufRoundTrip,
                         ::testing::Values("llama", "mistral", "qwen2", "qwen3", "gpt2_gelu_new", "bert_encoder"));

TEST_P(GgufRoundTrip, GivesTheSameNumbersFromTheFileAndFromAFolderOfIt) {
  const std::filesystem::path original = std::filesystem::path(FLEDGE_REFERENCE_DIR) / GetParam();
  const std::vector<float> expected = hidden_states(load_model(original, tensor::DType::f32, false));
  const GgufReport report = write_gguf(original, folder_ / "model.gguf", nullptr);
  EXPECT_TRUE(report.fallbacks.empty());
  EXPECT_EQ(report.left_out.size(), std::string(GetParam()) == "bert_encoder" ? 2u : 0u) << "the pooler of BERT";
  EXPECT_EQ(hidden_states(load_model(folder_ / "model.gguf", tensor::DType::f32, false)), expected);
  write_hugging_face(folder_ / "model.gguf", folder_ / "again");
  const LoadedModel again = load_model(folder_ / "again", tensor::DType::f32, false);
  EXPECT_EQ(hidden_states(again), expected);
  const Json before = base::read_json(original / "config.json"), after = again.model->config();
  EXPECT_EQ(after["model_type"], before["model_type"]);
  EXPECT_EQ(after.value("sliding_window", Json()), before.value("sliding_window", Json()));
  write_gguf(folder_ / "again", folder_ / "again.gguf", nullptr);
  const GgufReader first = GgufReader::open(folder_ / "model.gguf"), second = GgufReader::open(folder_ / "again.gguf");
  for (const auto& [key, value] : first.metadata().entries()) {
    if (key == "general.name") continue;
    ASSERT_TRUE(second.metadata().contains(key)) << key;
    EXPECT_EQ(second.metadata().find(key)->content, value.content) << key;
  }
}

TEST_F(GgufConvertTest, SaysWhatFellBackToAnotherType) {
  // Rows of 18 and 21 elements fill no blocks at all.
  const std::filesystem::path model = std::filesystem::path(FLEDGE_REFERENCE_DIR) / "qwen2";
  const GgufReport report = write_gguf(model, folder_ / "model.gguf", gguf_type_named("q4_k"));
  const GgufReader file = GgufReader::open(folder_ / "model.gguf");
  ASSERT_EQ(report.fallbacks.size(), 15u) << "seven matrices in each layer, and the embedding";
  for (const GgufReport::Fallback& fallback : report.fallbacks) {
    EXPECT_EQ(fallback.choice.used->name, "F16");
    EXPECT_EQ(*file.info(fallback.name).type, *fallback.choice.used);
    EXPECT_EQ(file.info(fallback.name).shape[1], fallback.columns);
  }
  EXPECT_EQ(report.fallbacks.front().choice.wanted->name, "Q6_K") << "the embedding is the head";
  EXPECT_NO_THROW(load_model(folder_ / "model.gguf", tensor::DType::f32, false));
}

TEST(GgufNamesTest, NamesGoBothWays) {
  for (const auto& [architecture, gguf, name] :
       {std::tuple{"llama", "blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight"},
        {"qwen3", "blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight"},
        {"gpt2", "blk.3.attn_qkv.bias", "transformer.h.3.attn.c_attn.bias"},
        {"bert", "token_embd_norm.weight", "bert.embeddings.LayerNorm.weight"}}) {
    const GgufNames names = GgufNames::of_architecture(architecture, "file");
    EXPECT_EQ(names.to_hugging_face(gguf)->name, name);
    EXPECT_EQ(names.to_gguf(name)->name, gguf);
    EXPECT_EQ(names.to_gguf(std::string(name).substr(std::string_view(name).find('.') + 1))->name, gguf);
  }
  EXPECT_EQ(GgufNames::of_architecture("llama", "f").to_gguf("model.layers.x.mlp.up_proj.weight"), std::nullopt);
  EXPECT_THROW(GgufNames::of_architecture("mamba", "file"), base::Error);
}

TEST(GgufNamesTest, RowsOfLlamaHeadsStandInPairs) {
  // Two heads of six rows, as weights.reshape(2, 2, 3).swapaxes(1, 2) orders them.
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < 12; ++row) rows.push_back(hugging_face_row(row, 12, 2));
  EXPECT_THAT(rows, ::testing::ElementsAre(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11));
  const auto change = [](const char* architecture) {
    return GgufNames::of_architecture(architecture, "file").to_hugging_face("blk.0.attn_k.weight")->change;
  };
  EXPECT_EQ(change("llama"), GgufChange::pair_key_rows);
  EXPECT_EQ(change("qwen2"), GgufChange::none);
}

TEST(GgufTypeTest, FollowsLlamaCppsConvention) {
  const auto type = [](const char* name, const Shape& shape, const char* wanted, bool tied = false) {
    return std::string(gguf_type_for(name, shape, *gguf_type_named(wanted), 32, tied).used->name);
  };
  EXPECT_EQ(type("blk.0.attn_q.weight", {512, 512}, "q4_0"), "Q4_0");
  EXPECT_EQ(type("blk.0.attn_norm.weight", {512}, "q4_0"), "F32");
  EXPECT_EQ(type("position_embd.weight", {512, 512}, "q8_0"), "F32");
  EXPECT_EQ(type("output.weight", {512, 512}, "q4_0"), "Q6_K");
  EXPECT_EQ(type("token_embd.weight", {512, 512}, "q4_0"), "Q4_0");
  EXPECT_EQ(type("token_embd.weight", {512, 512}, "q4_0", true), "Q6_K");
  // SmolLM2's width is no multiple of 256.
  EXPECT_EQ(type("token_embd.weight", {512, 576}, "q4_1", true), "Q8_0");
  EXPECT_EQ(type("blk.4.attn_q.weight", {512, 576}, "q4_k"), "Q5_0");
  EXPECT_EQ(type("blk.4.attn_q.weight", {512, 576}, "q6_k"), "Q8_0");
  EXPECT_EQ(type("blk.0.attn_v.weight", {512, 576}, "q4_k"), "Q8_0");
  EXPECT_EQ(type("blk.0.ffn_down.weight", {512, 512}, "q4_k"), "Q6_K");
  EXPECT_EQ(type("blk.4.ffn_down.weight", {512, 512}, "q4_k"), "Q4_K");
  EXPECT_EQ(type("blk.6.ffn_down.weight", {512, 512}, "q4_k"), "Q6_K");
  EXPECT_EQ(type("blk.0.attn_q.weight", {512, 40}, "q8_0"), "F16");
}

/// A file with nothing but metadata.
GgufReader file_of(const GgufMetadata& metadata) {
  GgufHeader header;
  header.metadata = metadata;
  auto bytes = std::make_shared<std::string>(gguf_header_text(header, "x"));
  return GgufReader::from_memory(bytes, std::as_bytes(std::span(bytes->data(), bytes->size())), "x");
}

TEST(GgufTokenizerTest, GivesTheTokensOfTheOriginalAlsoFromTheListsAlone) {
  const std::filesystem::path data = std::filesystem::path(FLEDGE_REFERENCE_DIR) / "tokenizer";
  const Json texts = base::read_json(data / "kinds.json")["texts"];
  for (const char* kind : {"bert", "byte_fallback", "gpt2", "qwen2", "llama3", "few_bytes"}) {
    SCOPED_TRACE(kind);
    const nn::Tokenizer original = nn::Tokenizer::load(data / kind);
    GgufMetadata metadata;
    const Json section = base::read_json(data / kind / "tokenizer.json");
    add_tokenizer(section, Json(), original.vocabulary_size() + 3, "tokenizer.json", metadata);
    const nn::Tokenizer whole = tokenizer_of_gguf(file_of(metadata));
    metadata.remove("tokenizer.huggingface.json");
    const nn::Tokenizer of_lists = tokenizer_of_gguf(file_of(metadata));
    for (const Json& entry : texts) {
      const auto text = entry.get<std::string>();
      const std::vector<int32_t> ids = original.encode(text, {.add_special = true});
      ASSERT_EQ(whole.encode(text, {.add_special = true}), ids) << text;
      EXPECT_EQ(whole.decode(ids), original.decode(ids)) << text;
      // The lists hold no flags of added tokens; of these texts "<mask>" takes white space along, and in those that are
      // normalized, "lamplight" and "Élan" are looked for before.
      constexpr const char* kAdded[] = {"<mask>", "lan", "LAN", "lamplight"};
      if (std::ranges::any_of(kAdded, [&](const char* part) { return text.find(part) != std::string::npos; })) continue;
      EXPECT_EQ(of_lists.encode(text, {.add_special = true}), ids) << text;
      EXPECT_EQ(of_lists.decode(ids), original.decode(ids)) << text;
    }
  }
}

TEST(GgufTokenizerTest, BelievesTheListsWhereTheWholeTokenizerIsAnother) {
  const Json tokenizer = {{"pre_tokenizer", split_of_gguf("gpt-2", "x").pre_tokenizer},
                          {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}}}, {"merges", Json::array()}}}};
  GgufMetadata metadata;
  add_tokenizer(tokenizer, Json(), 2, "tokenizer.json", metadata);
  for (const char* other : {R"({"model": {"vocab": {"a": 1, "b": 0}}})", R"({"model": {"vocab": {"a": 7}}})", "[]"}) {
    metadata.set_string("tokenizer.huggingface.json", other);
    EXPECT_EQ(tokenizer_of_gguf(file_of(metadata)).encode("ab"), (std::vector<int32_t>{0, 1})) << other;
  }
  metadata.set_string("tokenizer.huggingface.json", "{");
  EXPECT_THROW(tokenizer_of_gguf(file_of(metadata)), base::Error);
}

TEST(GgufTokenizerTest, ComesBackFromAFile) {
  const Json config = {{"bos_token", "<s>"}, {"chat_template", "{{ messages }}"}};
  Json tokenizer = {{"added_tokens", {{{"id", 3}, {"content", "<s>"}, {"special", true}}}},
                    {"pre_tokenizer", split_of_gguf("smollm", "x").pre_tokenizer},
                    {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}}}};
  GgufMetadata metadata;
  add_tokenizer(tokenizer, config, 6, "tokenizer.json", metadata);
  EXPECT_EQ(metadata.require<std::string>("tokenizer.ggml.pre", "x"), "smollm");
  metadata.remove("tokenizer.huggingface.json");
  const GgufReader file = file_of(metadata);
  const Json read = tokenizer_json_of_gguf(file);
  EXPECT_EQ(read["model"]["vocab"], tokenizer["model"]["vocab"]);
  EXPECT_EQ(read["model"]["merges"], tokenizer["model"]["merges"]);
  EXPECT_EQ(read["added_tokens"][0]["content"], "<s>");
  EXPECT_EQ(tokenizer_config_of_gguf(file)["chat_template"], config["chat_template"]);
  EXPECT_EQ(tokenizer_config_of_gguf(file)["bos_token"], "<s>");
  EXPECT_EQ(tokenizer_of_gguf(file).encode("ab<s>b"), (std::vector<int32_t>{2, 3, 1}));
  EXPECT_THROW(add_tokenizer(tokenizer, config, 2, "tokenizer.json", metadata), base::Error);
  EXPECT_THROW(split_of_gguf("unheard-of", "x"), base::Error);
}

}  // namespace
}  // namespace fledge::models
