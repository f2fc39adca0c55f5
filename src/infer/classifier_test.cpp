#include "infer/classifier.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/error.h"
#include "models/model_io.h"
#include "nn/text/word_piece_trainer.h"

namespace fledge::infer {
namespace {

const std::filesystem::path kReference = FLEDGE_REFERENCE_DIR;

/// A tokenizer of few enough tokens for the reference's tiny models.
nn::Tokenizer small_tokenizer() {
  nn::WordPieceTrainingOptions options;
  options.vocabulary_size = 45;
  nn::WordPieceTrainer trainer(options);
  for (int repeat = 0; repeat < 3; ++repeat) trainer.add_text("a good film and a bad film are good and bad films");
  return trainer.train();
}

TEST(Classifier, SaysOfATextTheSameAloneAndAmongOthers) {
  for (const char* name : {"bert_labels", "bert_score", "bert_tokens"}) {
    const models::LoadedModel loaded = models::load_model(kReference / name, tensor::DType::f32, false);
    Classifier classifier(*loaded.model, *loaded.memory, small_tokenizer(), tensor::DType::f32);
    EXPECT_EQ(classifier.labels_words(), std::string(name) == "bert_tokens");
    EXPECT_EQ(classifier.is_regression(), std::string(name) == "bert_score");
    const std::string second = "bad films";
    const std::vector<std::string> words = {"good", "films", "and", "\u0001", "bad"};
    std::vector<nn::EncoderText> texts;
    if (classifier.labels_words()) {
      texts = {classifier.encode(words), classifier.encode(std::span(words).first(2)), classifier.encode(words)};
    } else {
      texts = {classifier.encode("a good film", nullptr), classifier.encode("good", &second),
               classifier.encode("bad", nullptr)};
    }
    const auto together = classifier.classify(texts);
    ASSERT_EQ(together.size(), 3u);
    for (size_t index = 0; index < texts.size(); ++index) {
      EXPECT_EQ(classifier.classify(std::span(texts).subspan(index, 1))[0], together[index]) << name << index;
    }
    EXPECT_EQ(together[0].size(), classifier.labels_words() ? 5u : 1u);
    if (classifier.is_regression()) continue;
    for (const std::vector<float>& scores : together[0]) {
      float sum = 0.0F;
      for (const float score : scores) sum += score;
      EXPECT_NEAR(sum, scores.empty() ? 0.0F : 1.0F, 1e-6F);
    }
    // A word that is nothing to the tokenizer has no label.
    EXPECT_EQ(together[0].size() > 3 && together[0][3].empty(), classifier.labels_words());
  }
}

TEST(Classifier, CutsWhatIsLongerThanTheContext) {
  const models::LoadedModel loaded = models::load_model(kReference / "bert_labels", tensor::DType::f32, false);
  Classifier classifier(*loaded.model, *loaded.memory, small_tokenizer(), tensor::DType::f32);
  std::string text;
  for (int word = 0; word < 30; ++word) text += "good ";
  const nn::EncoderText encoded = classifier.encode(text, nullptr);
  EXPECT_EQ(static_cast<int64_t>(encoded.ids.size()), loaded.model->context_length());
  EXPECT_GT(encoded.dropped, 0);
  EXPECT_EQ(classifier.classify({&encoded, 1})[0][0].size(), 3u);
}

TEST(Classifier, NeedsLabels) {
  const models::LoadedModel loaded = models::load_model(kReference / "bert_encoder", tensor::DType::f32, false);
  EXPECT_THROW(Classifier(*loaded.model, *loaded.memory, small_tokenizer(), tensor::DType::f32), base::Error);
}

}  // namespace
}  // namespace fledge::infer
