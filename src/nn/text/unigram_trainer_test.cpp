#include "nn/text/unigram_trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/unigram_learner.h"
#include "nn/text/unigram_model.h"
#include "nn/text/unigram_seed.h"

namespace fledge::nn {
namespace {

namespace filesystem = std::filesystem;

const filesystem::path kData = filesystem::path(FLEDGE_REFERENCE_DIR) / "tokenizer";

/// Distinct words of few letters, some of more than one byte, with counts.
std::map<std::string, int64_t> random_words(uint64_t stream, int number) {
  const base::Random random(11, stream);
  uint64_t position = 0;
  const char* letters[] = {"a", "b", "é", "中", "c", "😀"};
  std::map<std::string, int64_t> words;
  for (int i = 0; i < number; ++i) {
    std::string word;
    for (uint64_t length = 1 + random.below(9, position++); length > 0; --length) {
      word += letters[std::min(random.below(6, position), random.below(6, position + 1))];
      position += 2;
    }
    words[word] += static_cast<int64_t>(1 + random.below(5, position++));
  }
  return words;
}

std::vector<CountedWord> counted(const std::map<std::string, int64_t>& words) {
  std::vector<CountedWord> result;
  for (const auto& [text, count] : words) result.push_back({text, count});
  return result;
}

std::vector<std::string> characters_of(const std::string& text) {
  std::vector<std::string> characters;
  for (const char byte : text) {
    if ((static_cast<uint8_t>(byte) & 0xC0) != 0x80) characters.emplace_back();
    characters.back() += byte;
  }
  return characters;
}

std::string joined(const std::vector<std::string>& characters, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) text += characters[i];
  return text;
}

TEST(UnigramTrainer, SeedsAreTheStringsThatOccurTwiceAndDoNotAlwaysGoOn) {
  const auto words = random_words(1, 400);
  constexpr size_t kLongest = 5;
  std::map<std::string, double> counts;
  std::map<std::string, std::map<std::string, double>> followers;
  for (const auto& [text, count] : words) {
    const auto characters = characters_of(text);
    for (size_t begin = 0; begin < characters.size(); ++begin) {
      for (size_t end = begin + 1; end <= std::min(characters.size(), begin + kLongest); ++end) {
        const std::string part = joined(characters, begin, end);
        counts[part] += static_cast<double>(count);
        if (end < characters.size() && end < begin + kLongest)
          followers[part][characters[end]] += static_cast<double>(count);
      }
    }
  }
  std::map<std::string, double> expected;
  for (const auto& [part, count] : counts) {
    const size_t length = characters_of(part).size();
    const auto& next = followers[part];
    const bool goes_on = next.size() == 1 && next.begin()->second == count;
    if (length == 1 || (count >= 2 && !goes_on)) expected[part] = count * static_cast<double>(length);
  }
  std::map<std::string, double> found;
  for (const SeedPiece& seed : seed_pieces(counted(words), kLongest, 1000000)) {
    EXPECT_TRUE(found.emplace(seed.text, seed.weight).second) << seed.text << " twice";
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(seed_pieces(counted(words), kLongest, 50).size(), 50u + 6u);
}

/// Calls visit(pieces, probability) for every way to cut a word.
void for_each_way(const std::string& word, const std::map<std::string, double>& scores,
                  std::vector<std::string>& pieces, double probability,
                  const std::function<void(const std::vector<std::string>&, double)>& visit) {
  if (word.empty()) return visit(pieces, probability);
  for (size_t length = 1; length <= word.size(); ++length) {
    const auto piece = scores.find(word.substr(0, length));
    if (piece == scores.end()) continue;
    pieces.push_back(piece->first);
    for_each_way(word.substr(length), scores, pieces, probability * std::exp(piece->second), visit);
    pieces.pop_back();
  }
}

TEST(UnigramTrainer, ExpectationsAreThoseOverAllWaysToCutTheWords) {
  const auto words = random_words(2, 120);
  UnigramLearner learner(counted(words), seed_pieces(counted(words), 5, 1000));
  for (int step = 0; step < 3; ++step) {
    std::map<std::string, double> scores, expected;
    for (const auto& piece : learner.pieces()) scores[piece.text] = piece.score;
    for (const auto& [word, count] : words) {
      double total = 0.0;
      std::vector<std::string> pieces;
      for_each_way(word, scores, pieces, 1.0, [&](const auto&, double probability) { total += probability; });
      for_each_way(word, scores, pieces, 1.0, [&](const std::vector<std::string>& way, double probability) {
        for (const std::string& piece : way) expected[piece] += static_cast<double>(count) * probability / total;
      });
    }
    learner.improve(false);
    double sum = 0.0;
    for (const auto& piece : learner.pieces()) sum += std::max(expected[piece.text], 0.5);
    for (const auto& piece : learner.pieces()) {
      // exp(digamma(x)) is x - 1/2 + 1/(24 x) for large x; the ratio of two pieces' probabilities is what matters.
      const double count = expected[piece.text];
      if (count < 30.0) continue;
      EXPECT_NEAR(piece.score, std::log(count - 0.5 + 1 / (24 * count)) - std::log(sum - 0.5), 2e-6) << piece.text;
    }
  }
}

double best_likelihood(const UnigramLearner& learner, const std::map<std::string, int64_t>& words) {
  std::map<std::string, double> scores;
  for (const auto& piece : learner.pieces()) scores[piece.text] = piece.score;
  double sum = 0.0;
  for (const auto& [word, count] : words) {
    double best = 0.0;
    std::vector<std::string> pieces;
    for_each_way(word, scores, pieces, 1.0,
                 [&](const auto&, double probability) { best = std::max(best, probability); });
    sum += static_cast<double>(count) * std::log(best);
  }
  return sum;
}

TEST(UnigramTrainer, PruningKeepsLettersAndWhatIsWorthMost) {
  const auto words = random_words(3, 150);
  UnigramLearner learner(counted(words), seed_pieces(counted(words), 5, 1000));
  for (int step = 0; step < 2; ++step) learner.improve(true);
  const size_t before = learner.size();
  learner.prune(40);
  EXPECT_LT(learner.size(), before);
  EXPECT_EQ(learner.size(), 40u);
  std::map<std::string, double> scores;
  for (const auto& piece : learner.pieces()) scores[piece.text] = piece.score;
  for (const char* letter : {"a", "b", "é", "中", "c", "😀"}) EXPECT_TRUE(scores.contains(letter)) << letter;
  learner.improve(false);
  const double kept = best_likelihood(learner, words);
  // The same number of pieces by their score alone is worse.
  UnigramLearner other(counted(words), seed_pieces(counted(words), 5, 34));
  for (int step = 0; step < 3; ++step) other.improve(false);
  ASSERT_EQ(other.size(), 40u);
  EXPECT_GT(kept, best_likelihood(other, words));
  learner.prune(1);
  EXPECT_EQ(learner.size(), 6u);
}

UnigramTrainingOptions small_options() {
  UnigramTrainingOptions options;
  options.vocabulary_size = 350;
  return options;
}

TEST(UnigramTrainer, IsTheSameOnAnyNumberOfThreadsAndLoadsFromItsFile) {
  const auto train = [&](int threads) {
    const int before = base::thread_count();
    base::set_thread_count(threads);
    UnigramTrainer trainer(small_options());
    trainer.add_file(kData / "corpus.txt");
    Tokenizer tokenizer = trainer.train();
    base::set_thread_count(before);
    return tokenizer;
  };
  const Tokenizer one = train(1), three = train(3);
  EXPECT_EQ(tokenizer_json(one.parts()), tokenizer_json(three.parts()));
  EXPECT_EQ(one.vocabulary_size(), 350);
  const filesystem::path folder = filesystem::path(testing::TempDir()) / "fledge_trained_unigram";
  one.save(folder);
  const Tokenizer loaded = Tokenizer::load(folder);
  const std::string text = "The lighthouse, 12345  and\nmore é <s> \xFF" + base::read_file(kData / "corpus.txt");
  EXPECT_EQ(loaded.encode(text, {.add_special = true}), one.encode(text, {.add_special = true}));
  EXPECT_EQ(tokenizer_json(loaded.parts()), tokenizer_json(one.parts()));
  EXPECT_EQ(loaded.end_token(), loaded.token_id("</s>"));
  // The names of special tokens in a stranger's text are ordinary characters.
  const auto plain = loaded.encode("<s>", {.add_special = false, .match_special = false});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), *loaded.token_id("<s>")), 0);
}

TEST(UnigramTrainer, RefusesWhatCannotBe) {
  UnigramTrainingOptions options = small_options();
  EXPECT_THROW(UnigramTrainer(options).train(), base::Error) << "no text";
  options.vocabulary_size = 20;
  UnigramTrainer trainer(options);
  trainer.add_file(kData / "corpus.txt");
  EXPECT_THROW(trainer.train(), base::UsageError);
  options.shrinking_factor = 1.5;
  EXPECT_THROW(UnigramTrainer{options}, base::UsageError);
  options = small_options();
  options.special_tokens = {"<unk>"};
  EXPECT_THROW(UnigramTrainer{options}, base::UsageError) << "<unk> twice";
}

}  // namespace
}  // namespace fledge::nn
