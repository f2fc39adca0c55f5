#include "nn/text/word_piece_trainer.h"
#include "base/json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {
namespace {

namespace filesystem = std::filesystem;
using base::Json;

const filesystem::path kData = filesystem::path(FLEDGE_REFERENCE_DIR) / "tokenizer";

const Json& reference() {
  static const Json json = base::read_json(kData / "word_piece_training.json");
  return json;
}

Tokenizer trained(const WordPieceTrainingOptions& options) {
  WordPieceTrainer trainer(options);
  trainer.add_text(reference()["text"].get<std::string>());
  return trainer.train();
}

std::set<std::string> tokens_of(const Tokenizer& tokenizer) {
  std::set<std::string> tokens;
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) tokens.emplace(tokenizer.token_bytes(id));
  return tokens;
}

TEST(WordPieceTrainer, LearnsWhatHuggingFaceLearns) {
  ASSERT_GE(reference()["cases"].size(), 5u);
  for (const Json& example : reference()["cases"]) {
    WordPieceTrainingOptions options;
    options.vocabulary_size = example["vocabulary_size"].get<int32_t>();
    options.min_frequency = example["min_frequency"].get<int64_t>();
    options.alphabet_limit = example["alphabet_limit"].get<int64_t>();
    options.lowercase = example["lowercase"].get<bool>();
    const auto expected = example["tokens"].get<std::set<std::string>>();
    EXPECT_EQ(tokens_of(trained(options)), expected) << example["vocabulary_size"];
  }
}

TEST(WordPieceTrainer, IsTheSameOnAnyNumberOfThreadsAndLoadsFromItsFile) {
  WordPieceTrainingOptions options;
  options.vocabulary_size = 120;
  const int before = base::thread_count();
  base::set_thread_count(1);
  const Tokenizer one = trained(options);
  base::set_thread_count(3);
  EXPECT_EQ(tokenizer_json(trained(options).parts()), tokenizer_json(one.parts()));
  base::set_thread_count(before);
  const filesystem::path folder = filesystem::path(testing::TempDir()) / "fledge_trained_word_piece";
  one.save(folder);
  const Tokenizer loaded = Tokenizer::load(folder);
  EXPECT_EQ(tokenizer_json(loaded.parts()), tokenizer_json(one.parts()));
  EXPECT_EQ(loaded.token_id("[MASK]"), 4);
  EXPECT_EQ(loaded.padding_token(), 0);
  const auto ids = loaded.encode("THE Loramen \u0001 Ünknown", {.add_special = true});
  EXPECT_EQ(ids.front(), 2);
  EXPECT_EQ(ids.back(), 3);
  EXPECT_EQ(loaded.decode(loaded.encode("THE ABMENS")), "the abmens");
}

TEST(WordPieceTrainer, RefusesWhatCannotBe) {
  WordPieceTrainingOptions options;
  EXPECT_THROW(WordPieceTrainer(options).train(), base::Error) << "no text";
  options.vocabulary_size = 20;
  EXPECT_THROW(trained(options), base::UsageError) << "letters do not fit";
  options.special_tokens = {"[PAD]"};
  EXPECT_THROW(WordPieceTrainer{options}, base::UsageError) << "no [UNK]";
}

}  // namespace
}  // namespace fledge::nn
