#include "infer/embedder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "models/model_io.h"
#include "nn/text/tokenizer_parts.h"
#include "support/operation_check.h"
#include "support/reference_data.h"

namespace fledge::infer {
namespace {

using tensor::Pooling;
using test::ReferenceData;

constexpr const char* kTokenizer = R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
  "normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "##b": 5}}})";

class EmbedderTest : public testing::Test {
 protected:
  EmbedderTest() : loaded_(models::load_model(folder(), tensor::DType::f32, false)) {}

  static std::filesystem::path folder() { return std::filesystem::path(FLEDGE_REFERENCE_DIR) / "bert_encoder"; }
  Embedder make(const EmbeddingSettings& settings) {
    return {*loaded_.model, *loaded_.memory, nn::Tokenizer(nn::parse_tokenizer_json(kTokenizer, "test")), settings,
            tensor::DType::f32};
  }

  models::LoadedModel loaded_;
};

/// The reference's rows without padding, but only where their segments are all 0.
TEST_F(EmbedderTest, EqualsTheModelsOutputsTextByText) {
  EmbeddingSettings settings = EmbeddingSettings::read(folder(), *loaded_.model);
  EXPECT_EQ(settings.max_tokens, 19);
  settings.normalizes = false;
  Embedder embedder = make(settings);
  const std::vector<std::vector<int32_t>> texts{{1, 7, 9, 2}, {5}, {1, 7, 9, 2, 4, 4, 6, 70, 3}, {1, 7, 9, 2}};
  const std::vector<std::vector<float>> together = embedder.embed_ids(texts);
  ASSERT_EQ(together.size(), texts.size());
  EXPECT_EQ(together[0], together[3]);
  for (size_t index = 0; index < texts.size(); ++index) {
    const auto alone = embedder.embed_ids(std::span(texts).subspan(index, 1));
    // Packing moves a text's keys to other blocks of the attention, whose sums are then rounded in another order.
    EXPECT_LT(
        test::relative_error({together[index].begin(), together[index].end()}, {alone[0].begin(), alone[0].end()}),
        1e-6);
    models::ForwardInput input;
    tensor::Arena& arena = loaded_.memory->activations;
    input.ids = tensor::Tensor::from(texts[index], {1, static_cast<int64_t>(texts[index].size())}, arena);
    grad::Graph graph(arena, loaded_.memory->encodings, tensor::DType::f32, false);
    const std::vector<double> hidden = test::as_doubles(loaded_.model->forward(graph, input).hidden.value());
    const size_t width = hidden.size() / texts[index].size();
    std::vector<double> mean(width, 0.0);
    for (size_t i = 0; i < hidden.size(); ++i) mean[i % width] += hidden[i] / static_cast<double>(texts[index].size());
    EXPECT_LT(test::relative_error({alone[0].begin(), alone[0].end()}, mean), 1e-6);
  }
}

TEST_F(EmbedderTest, CutsLongTextsAndSaysSo) {
  EmbeddingSettings settings;
  settings.max_tokens = 6;
  const Embedder embedder = make(settings);
  EXPECT_EQ(embedder.tokenize("a bb").ids, (std::vector<int32_t>{1, 3, 4, 5, 2}));
  EXPECT_EQ(embedder.tokenize("a bb").dropped, 0);
  EXPECT_EQ(embedder.tokenize("a a a bb b").ids, (std::vector<int32_t>{1, 3, 3, 3, 4, 2}));
  EXPECT_EQ(embedder.tokenize("a a a bb b").dropped, 2);
}

TEST_F(EmbedderTest, ServesSeveralThreads) {
  Embedder embedder = make(EmbeddingSettings{.pooling = Pooling::mean, .normalizes = true, .max_tokens = 19});
  const std::vector<std::string> texts{"a b", "bb", "a"};
  const auto expected = embedder.embed(texts);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 5; ++turn) EXPECT_EQ(embedder.embed(texts), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THROW(embedder.embed_ids(std::vector<std::vector<int32_t>>{{}}), base::Error);
  EXPECT_THROW(embedder.embed_ids(std::vector<std::vector<int32_t>>{{71}}), base::Error);
  EXPECT_THROW(embedder.embed_ids(std::vector<std::vector<int32_t>>{std::vector<int32_t>(20, 3)}), base::Error);
}

TEST_F(EmbedderTest, ReadsTheSettingsOfSentenceTransformers) {
  const auto place = std::filesystem::path(testing::TempDir()) / "embedding_settings";
  base::create_folder(place / "1_Pooling");
  const auto read = [&](const char* modules, const char* pooling) {
    base::write_file(place / "modules.json", modules);
    base::write_file(place / "1_Pooling" / "config.json", pooling);
    return EmbeddingSettings::read(place, *loaded_.model);
  };
  constexpr const char* kTwo = R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
                                   {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])";
  base::write_file(place / "sentence_bert_config.json", R"({"max_seq_length": 7})");
  const EmbeddingSettings cls = read(kTwo, R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})");
  EXPECT_EQ(cls.pooling, Pooling::first);
  EXPECT_FALSE(cls.normalizes);
  EXPECT_EQ(cls.max_tokens, 7);
  EXPECT_EQ(read(kTwo, R"({"pooling_mode_max_tokens": true})").pooling, Pooling::max);
  EXPECT_EQ(read(kTwo, R"({"pooling_mode": "mean"})").pooling, Pooling::mean);
  EXPECT_THROW(read(kTwo, R"({"pooling_mode_max_tokens": true, "pooling_mode_cls_token": true})"), base::Error);
  EXPECT_THROW(read(kTwo, R"({"pooling_mode_lasttoken": true})"), base::Error);
  EXPECT_THROW(read(R"([{"path": "../x", "type": "a.Pooling"}])", "{}"), base::Error);
  EXPECT_THROW(read(R"([{"path": "2_Dense", "type": "a.Dense"}])", "{}"), base::Error);
  EXPECT_THROW(read(R"({"a": 1})", "{}"), base::Error);
  std::filesystem::remove_all(place);
}

}  // namespace
}  // namespace fledge::infer
