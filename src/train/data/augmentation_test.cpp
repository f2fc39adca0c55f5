#include "train/data/augmentation.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "models/model_io.h"
#include "nn/text/word_piece_trainer.h"
#include "train/data/table_line.h"
#include "train/data/test_support.h"
#include "train/data/word_candidates.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::filesystem::path kReference = FLEDGE_REFERENCE_DIR;

std::vector<std::string> shown_words(const std::string& text) {
  std::vector<std::string> words;
  for (const auto [begin, end] : words_of(text)) words.push_back(text.substr(begin, end - begin));
  return words;
}

TEST(WordsOf, AreRunsOfLetters) {
  EXPECT_THAT(shown_words("A dull, over-long film."), ElementsAre("A", "dull", "over", "long", "film"));
  EXPECT_THAT(shown_words("it's the 3rd 'best' of James\u2019s"), ElementsAre("the", "best", "of"));
  EXPECT_THAT(shown_words("na\u00efve cafe\u0301 42 \xFF odd\xFFly"),
              ElementsAre("na\u00efve", "cafe\u0301", "odd", "ly"));
  EXPECT_THAT(shown_words("the boys' film''s"), ElementsAre("the", "boys", "film", "s"));
  EXPECT_THAT(shown_words(" ... "), ElementsAre());
}

TEST(VariantsOf, ReplaceWordsAsOftenAsAsked) {
  ReplaceableText text{"one, two three!", words_of("one, two three!"), {{"a", "b"}, {}, {"c", "d", "e", "f"}}};
  AugmentationOptions options{4000, 0.4, 7};
  const std::vector<std::string> variants = variants_of(text, options, 3);
  ASSERT_EQ(variants.size(), 4000u);
  std::map<std::string, int> counts;
  for (const std::string& variant : variants) ++counts[variant];
  EXPECT_EQ(counts.size(), 3u * 5u);
  // Each expected count has a standard deviation below sqrt(4000 / 4) = 32; five of them.
  EXPECT_NEAR(counts["one, two three!"], 4000 * 0.6 * 0.6, 160);
  EXPECT_NEAR(counts["b, two three!"], 4000 * 0.4 / 2 * 0.6, 160);
  EXPECT_NEAR(counts["one, two f!"], 4000 * 0.6 * 0.4 / 4, 160);
  EXPECT_EQ(variants_of(text, options, 3), variants);
  EXPECT_NE(variants_of(text, options, 4), variants);
  options.variants = 10;
  EXPECT_TRUE(std::ranges::equal(variants_of(text, options, 3), std::span(variants).first(10)));
  options.probability = 0.0;
  EXPECT_THAT(variants_of(text, options, 3), ::testing::Each("one, two three!"));
  options.probability = 1.0;
  EXPECT_THAT(variants_of(text, options, 3), Not(::testing::Contains(HasSubstr("one"))));
}

TEST(TableLine, IsReadBack) {
  const std::vector<std::string> columns = {"text", "label"}, values = {"a \"b\",\nc\u00e9", "x"};
  for (const TableFormat format : {TableFormat::csv, TableFormat::tsv, TableFormat::jsonl}) {
    const std::string file = table_header(format, columns) + table_line(format, columns, values);
    const Table table = parse_table(file, format, columns, "file");
    ASSERT_EQ(table.rows.size(), 1u);
    const std::string expected = format == TableFormat::tsv ? "a \"b\", c\u00e9" : values[0];
    EXPECT_EQ(table.rows[0].cells[0].text, expected);
    EXPECT_EQ(table.rows[0].cells[1].text, "x");
  }
}

/// Of few enough tokens for the reference's tiny models: "good" and "bad" are whole, "bads" is not.
nn::Tokenizer small_tokenizer() {
  nn::WordPieceTrainingOptions options;
  options.vocabulary_size = 45;
  nn::WordPieceTrainer trainer(options);
  for (int repeat = 0; repeat < 3; ++repeat) trainer.add_text("a good film and a bad film are good and bad films");
  return trainer.train();
}

std::vector<ReplaceableText> candidates_of(const char* model, const std::vector<std::string>& texts, int64_t count) {
  const models::LoadedModel loaded = models::load_model(kReference / model, tensor::DType::f32, false);
  WordCandidates candidates(*loaded.model, *loaded.memory, small_tokenizer(), tensor::DType::f32, count);
  EXPECT_EQ(candidates.predicts(), std::string(model) == "bert_pretraining");
  return candidates.find(texts);
}

TEST(WordCandidates, ArePredictedWhereTheModelCan) {
  const std::vector<std::string> texts = {"a good film", "bad films are good", "a bad film", "bads are films"};
  const auto together = candidates_of("bert_pretraining", texts, 6);
  ASSERT_EQ(together.size(), 4u);
  for (size_t index = 0; index < texts.size(); ++index) {
    const auto alone = candidates_of("bert_pretraining", {texts[index]}, 6);
    EXPECT_EQ(alone[0].candidates, together[index].candidates) << texts[index];
    for (const auto& words : together[index].candidates) EXPECT_EQ(words.size(), 6u);
  }
  EXPECT_THAT(together[0].candidates[1], Not(::testing::Contains("good")));
  // What is masked does not count, but what stands around it; a word of several tokens is its neighbours' alone.
  const auto masked = candidates_of("bert_pretraining", {"a good film", "a bad film", "a good good"}, 40);
  EXPECT_NE(masked[0].candidates[2], masked[1].candidates[2]);
  std::vector<std::string> of_good = masked[0].candidates[1], of_bad = masked[1].candidates[1];
  std::erase(of_good, "bad");
  std::erase(of_bad, "good");
  EXPECT_EQ(of_good, of_bad);
  const auto whole = candidates_of("bert_pretraining", {"bads are films", "a bads"}, 6);
  EXPECT_EQ(whole[0].candidates[0], whole[1].candidates[1]);
}

TEST(WordCandidates, AreNeighboursOtherwise) {
  const models::LoadedModel loaded = models::load_model(kReference / "bert_encoder", tensor::DType::f32, false);
  const nn::Tokenizer tokenizer = small_tokenizer();
  const auto result = candidates_of("bert_encoder", {"a good film"}, 1);
  const tensor::Tensor table = loaded.model->parameters().find("embeddings.word_embeddings.weight")->value();
  const std::vector<float> values = table.to_vector<float>();
  const auto width = static_cast<size_t>(table.dim(1));
  const auto cosine = [&](int32_t a, int32_t b) {
    double product = 0.0, left = 0.0, right = 0.0;
    for (size_t element = 0; element < width; ++element) {
      const double x = values[static_cast<size_t>(a) * width + element],
                   y = values[static_cast<size_t>(b) * width + element];
      product += x * y;
      left += x * x;
      right += y * y;
    }
    return product / std::sqrt(left * right);
  };
  const int32_t good = *tokenizer.token_id("good"), found = *tokenizer.token_id(result[0].candidates[1][0]);
  for (const char* other : {"a", "film", "bad", "are", "and", "films"}) {
    const auto id = tokenizer.token_id(other);
    if (id) {
      EXPECT_LE(cosine(good, *id), cosine(good, found) + 1e-6) << other;
    }
  }
}

TEST(WordCandidates, BehindTheContextAreNeighbours) {
  std::string text;
  for (int word = 0; word < 40; ++word) text += "good film ";
  const auto result = candidates_of("bert_pretraining", {text}, 3);
  ASSERT_EQ(result[0].candidates.size(), 80u);
  EXPECT_EQ(result[0].candidates[78].size(), 3u);
  EXPECT_EQ(result[0].candidates[76], result[0].candidates[78]);
}

}  // namespace
}  // namespace fledge::train
