#include "train/data/masking.h"

#include <gmock/gmock.h>

#include <map>

#include "nn/text/bpe_trainer.h"
#include "nn/text/unigram_trainer.h"
#include "nn/text/word_piece_trainer.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

const char* const kText = "the unhappy lighthouse keeper lights the lights of the lighthouse unhappily and happily ";

nn::Tokenizer word_pieces(int32_t size = 60) {
  nn::WordPieceTrainingOptions options;
  options.vocabulary_size = size;
  nn::WordPieceTrainer trainer(options);
  for (int repeat = 0; repeat < 5; ++repeat) trainer.add_text(kText);
  return trainer.train();
}

nn::EncoderRow row_of(const nn::Tokenizer& tokenizer, int64_t length, size_t text_tokens) {
  nn::EncoderRow row(nn::encoder_tokens(tokenizer, "test"));
  std::vector<int32_t> ids;
  while (ids.size() < text_tokens) {
    const auto more = tokenizer.encode(kText);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  ids.resize(text_tokens);
  while (row.size() + static_cast<int64_t>(text_tokens) + 2 <= length) row.add(ids);
  row.pad(length);
  return row;
}

TEST(Masking, ChoosesAFixedShareAndChangesFourFifthsOfIt) {
  const nn::Tokenizer tokenizer = word_pieces();
  const Masking masking(tokenizer, {.probability = 0.15, .whole_words = false, .seed = 3});
  std::map<int32_t, int64_t> fates;
  int64_t kept = 0, masked = 0, other = 0, all = 0;
  std::vector<int64_t> chosen_at(128);
  for (uint64_t sample = 0; sample < 3000; ++sample) {
    const nn::EncoderRow before = row_of(tokenizer, 128, 58);
    nn::EncoderRow row = before;
    std::vector<int32_t> places, targets;
    masking.apply(row, Masking::Stream::kTraining, sample, 1000, places, targets);
    ASSERT_EQ(places.size(), 17u);  // 15 % of 116 ordinary tokens
    ASSERT_TRUE(std::ranges::is_sorted(places));
    for (size_t index = 0; index < places.size(); ++index) {
      const auto place = static_cast<size_t>(places[index] - 1000);
      EXPECT_TRUE(before.ordinary[place]);
      EXPECT_EQ(targets[index], before.ids[place]);
      ++chosen_at[place];
      ++all;
      const int32_t now = row.ids[place];
      masked += now == *tokenizer.mask_token();
      kept += now == before.ids[place];
      other += now != *tokenizer.mask_token() && now != before.ids[place];
      EXPECT_TRUE(now == *tokenizer.mask_token() || !tokenizer.is_special(now));
      row.ids[place] = before.ids[place];
    }
    EXPECT_EQ(row.ids, before.ids) << "what is not chosen stays";
  }
  // Five standard deviations of a binomial of `all` draws.
  const auto near = [&](int64_t count, double share) {
    const double n = static_cast<double>(all);
    EXPECT_NEAR(static_cast<double>(count) / n, share, 5 * std::sqrt(share * (1 - share) / n));
  };
  const double same = 1.0 / 55.0;  // a random token is now and then the old one
  near(masked, 0.8);
  near(kept, 0.1 + 0.1 * same);
  near(other, 0.1 - 0.1 * same);
  for (size_t place = 0; place < chosen_at.size(); ++place) {
    const double share = row_of(tokenizer, 128, 58).ordinary[place] ? 17.0 / 116.0 : 0.0;
    EXPECT_NEAR(static_cast<double>(chosen_at[place]) / 3000, share, 5 * std::sqrt(share * (1 - share) / 3000));
  }
}

TEST(Masking, IsAFunctionOfSeedStreamAndSample) {
  const nn::Tokenizer tokenizer = word_pieces();
  const auto masked = [&](uint64_t seed, Masking::Stream stream, uint64_t sample) {
    nn::EncoderRow row = row_of(tokenizer, 64, 62);
    std::vector<int32_t> places, targets;
    Masking(tokenizer, {.probability = 0.15, .whole_words = false, .seed = seed})
        .apply(row, stream, sample, 0, places, targets);
    places.insert(places.end(), row.ids.begin(), row.ids.end());
    return places;
  };
  const auto first = masked(1, Masking::Stream::kTraining, 5);
  EXPECT_EQ(masked(1, Masking::Stream::kTraining, 5), first);
  EXPECT_NE(masked(2, Masking::Stream::kTraining, 5), first);
  EXPECT_NE(masked(1, Masking::Stream::kEvaluation, 5), first);
  EXPECT_NE(masked(1, Masking::Stream::kTraining, 6), first);
}

TEST(Masking, TakesWholeWords) {
  const nn::Tokenizer tokenizer = word_pieces(40);
  const Masking masking(tokenizer, {.probability = 0.3, .whole_words = true, .seed = 1});
  const std::vector<bool> continues = continuing_tokens(tokenizer);
  int64_t words_of_many = 0;
  for (uint64_t sample = 0; sample < 200; ++sample) {
    const nn::EncoderRow before = row_of(tokenizer, 64, 62);
    nn::EncoderRow row = before;
    std::vector<int32_t> places, targets;
    masking.apply(row, Masking::Stream::kTraining, sample, 0, places, targets);
    EXPECT_LE(places.size(), 19u);
    std::vector<bool> chosen(64);
    for (const int32_t place : places) chosen[static_cast<size_t>(place)] = true;
    for (size_t place = 2; place < 63; ++place) {
      if (!continues[static_cast<size_t>(before.ids[place])]) continue;
      EXPECT_EQ(chosen[place], chosen[place - 1]) << place;
      words_of_many += chosen[place];
    }
  }
  EXPECT_GT(words_of_many, 100);
}

TEST(Masking, KnowsWhatContinuesAWord) {
  const auto check = [](const nn::Tokenizer& tokenizer, const char* begins, const char* goes_on) {
    const std::vector<bool> continues = continuing_tokens(tokenizer);
    EXPECT_FALSE(continues[static_cast<size_t>(tokenizer.token_id(begins).value())]) << begins;
    EXPECT_TRUE(continues[static_cast<size_t>(tokenizer.token_id(goes_on).value())]) << goes_on;
  };
  check(word_pieces(), "t", "##s");
  nn::UnigramTrainingOptions unigram;
  unigram.vocabulary_size = 50;
  nn::UnigramTrainer trainer(unigram);
  trainer.add_text(kText);
  check(trainer.train(), "\u2581", "h");
  nn::BpeTrainingOptions bytes;
  bytes.vocabulary_size = 280;
  nn::BpeTrainer byte_trainer(bytes);
  byte_trainer.add_text(kText);
  const nn::Tokenizer byte_level = byte_trainer.train();
  check(byte_level, " ", "h");
  EXPECT_THAT(error_of([&] { Masking(byte_level, {}); }), HasSubstr("no mask_token"));
}

TEST(Masking, OfARowWithoutOrdinaryTokensIsNothing) {
  const nn::Tokenizer tokenizer = word_pieces();
  nn::EncoderRow row(nn::encoder_tokens(tokenizer, "test"));
  row.pad(16);
  std::vector<int32_t> places, targets;
  Masking(tokenizer, {}).apply(row, Masking::Stream::kTraining, 0, 0, places, targets);
  EXPECT_TRUE(places.empty());
  EXPECT_EQ(row.texts, 1);
}

}  // namespace
}  // namespace fledge::train
