#include "nn/text/bpe_trainer.h"
#include "base/json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "nn/text/bpe_model.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {
namespace {

namespace filesystem = std::filesystem;
using base::Json;

const filesystem::path kData = filesystem::path(FLEDGE_REFERENCE_DIR) / "tokenizer";

Json model_of(const Tokenizer& tokenizer) {
  return Json::parse(tokenizer_json(tokenizer.parts()))["model"];
}

/// Merges as [left, right] pairs, however the file writes them.
Json merge_pairs(const Json& model) {
  Json pairs = Json::array();
  for (const Json& merge : model["merges"]) {
    if (merge.is_array()) {
      pairs.push_back(merge);
      continue;
    }
    const auto text = merge.get<std::string>();
    pairs.push_back({text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)});
  }
  return pairs;
}

TEST(BpeTrainer, LearnsWhatHuggingFaceLearns) {
  const std::string corpus = base::read_file(kData / "corpus.txt");
  for (const char* name : {"gpt2", "llama3", "qwen2"}) {
    BpeTrainingOptions options;
    options.vocabulary_size = 700;
    options.pattern = split_pattern_by_name(name);
    options.normalize_to_nfc = std::string(name) == "qwen2";
    options.special_tokens = {"<|endoftext|>", "<|end|>"};
    BpeTrainer trainer(options);
    trainer.add_text(corpus);
    const Json ours = model_of(trainer.train());
    const Json theirs = base::read_json(kData / name / "tokenizer.json")["model"];
    EXPECT_EQ(merge_pairs(ours), merge_pairs(theirs)) << name;
    EXPECT_EQ(ours["vocab"], theirs["vocab"]) << name;
    EXPECT_GT(ours["merges"].size(), 200u);
  }
}

TEST(BpeTrainer, IsTheSameInPartsAndByLines) {
  const base::Random random(3, 5);
  uint64_t position = 0;
  std::string text;
  // Over two parts' worth of text, with lines of all kinds and no place to cut for long stretches.
  while (text.size() < 900000) {
    text += "the light on 12 'll\n\n \t!"[random.below(24, position++)];
    if (random.below(400, position++) == 0) text += "<|endoftext|>\xFF";
  }
  const auto train = [&](int threads, BpeTrainer::Unit unit) {
    const int before = base::thread_count();
    base::set_thread_count(threads);
    BpeTrainingOptions options;
    options.vocabulary_size = 500;
    BpeTrainer trainer(options);
    trainer.add_text(text, unit);
    base::set_thread_count(before);
    return model_of(trainer.train());
  };
  EXPECT_EQ(train(1, BpeTrainer::Unit::kText), train(3, BpeTrainer::Unit::kText));
  EXPECT_EQ(train(1, BpeTrainer::Unit::kLine), train(3, BpeTrainer::Unit::kLine));
  // The same as one document for each line.
  BpeTrainingOptions options;
  options.vocabulary_size = 500;
  BpeTrainer by_hand(options);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    by_hand.add_text(std::string_view(text).substr(begin, end - begin));
    begin = end;
  }
  EXPECT_EQ(train(2, BpeTrainer::Unit::kLine), model_of(by_hand.train()));
}

TEST(BpeTrainer, CountsPiecesOfAllLengthsExactly) {
  const base::Random random(4, 5);
  uint64_t position = 0;
  std::map<std::string, int64_t> expected;
  PieceCounter counter, other;
  for (int round = 0; round < 60000; ++round) {
    std::string piece;
    for (uint64_t length = 1 + random.below(24, position++); length > 0; --length) {
      piece += static_cast<char>(random.below(2, position++) * 255);
    }
    const std::string_view view = piece;
    PieceCounter& chosen = round % 3 == 0 ? other : counter;
    chosen.set_readable_end(view.data() + view.size());
    chosen.take({&view, 1});
    ++expected[piece];
  }
  counter.add(other);
  EXPECT_EQ(counter.distinct(), expected.size());
  std::map<std::string, int64_t> found;
  counter.for_each([&](std::string_view piece, int64_t count) { found[std::string(piece)] += count; });
  EXPECT_EQ(found, expected);
}

TEST(BpeTrainer, TellsItsProgressAndCanBeStopped) {
  BpeTrainingOptions options;
  options.vocabulary_size = 300;
  int64_t counted = 0, merged = 0;
  options.progress = [&](const TokenizerTrainingProgress& progress) {
    (progress.phase == TokenizerTrainingProgress::Phase::kCounting ? counted : merged) = progress.done;
    EXPECT_LE(progress.done, progress.total);
    if (merged > 280) throw base::Interrupted("stopped");
  };
  const std::string corpus = base::read_file(kData / "corpus.txt");
  BpeTrainer trainer(options);
  trainer.add_file(kData / "corpus.txt");
  EXPECT_EQ(counted, static_cast<int64_t>(corpus.size()));
  EXPECT_THROW(trainer.train(), base::Interrupted);
  EXPECT_GT(merged, 280);
}

TEST(BpeTrainer, ItsTokenizerRoundTripsThroughFiles) {
  BpeTrainingOptions options;
  options.vocabulary_size = 400;
  options.pattern = SplitPattern::kLlama3;
  options.special_tokens = {"<|endoftext|>", "<été ｜ with space>"};
  BpeTrainer trainer(options);
  trainer.add_file(kData / "corpus.txt");
  const Tokenizer tokenizer = trainer.train();
  EXPECT_EQ(tokenizer.token_id("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer.token_id("<été ｜ with space>"), 1);
  const filesystem::path folder = filesystem::path(testing::TempDir()) / "fledge_trained_tokenizer";
  tokenizer.save(folder);
  const Tokenizer loaded = Tokenizer::load(folder);
  const std::string text = "The lighthouse<été ｜ with space> 12345\n\n<|endoftext|>\xF0\x9F ...";
  EXPECT_EQ(loaded.encode(text), tokenizer.encode(text));
  EXPECT_EQ(loaded.decode(loaded.encode(text)), text);
  EXPECT_EQ(loaded.end_token(), 0);
}

TEST(BpeTrainer, RefusesWhatCannotBe) {
  const auto with = [](int32_t size, std::vector<std::string> special) {
    BpeTrainingOptions options;
    options.vocabulary_size = size;
    options.special_tokens = std::move(special);
    return BpeTrainer(options);
  };
  EXPECT_THROW(with(256, {"<|endoftext|>"}), base::UsageError);
  EXPECT_THROW(with(300, {"a", "a"}), base::UsageError);
  EXPECT_THROW(with(300, {""}), base::UsageError);
  EXPECT_THROW(with(300, {"\xFF"}), base::UsageError);
  EXPECT_THROW(with(257, {"<|endoftext|>"}).train(), base::Error) << "no text";
}

}  // namespace
}  // namespace fledge::nn
