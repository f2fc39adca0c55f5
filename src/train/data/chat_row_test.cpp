#include "train/data/chat_row.h"

#include <gtest/gtest.h>

namespace fledge::train {
namespace {

const std::vector<TokenSpan> kTurns{{4, 8}, {12, 20}};

TEST(KeptTokens, KeepsWholeTurnsWherePossible) {
  EXPECT_EQ(kept_tokens(kTurns, 25, 100), 20);  // what stands behind the last turn has no use
  EXPECT_EQ(kept_tokens(kTurns, 25, 19), 20);   // the last token is only predicted
  EXPECT_EQ(kept_tokens(kTurns, 25, 18), 8);
  EXPECT_EQ(kept_tokens(kTurns, 25, 7), 8);
  EXPECT_EQ(kept_tokens(kTurns, 25, 6), 7);  // not even the first answer fits: its beginning is learned
  EXPECT_EQ(kept_tokens(kTurns, 25, 4), 5);
  EXPECT_EQ(kept_tokens(kTurns, 25, 3), 0);
  EXPECT_EQ(kept_tokens({}, 25, 100), 0);
  const std::vector<TokenSpan> first_only{{0, 1}};
  EXPECT_EQ(kept_tokens(first_only, 1, 100), 0);  // nothing predicts the first token
}

TEST(KeptTokens, CutsTheLongerAnswerOfAPairFirst) {
  const std::vector<TokenSpan> a{{4, 31}}, b{{4, 11}};
  const auto kept = [&](int64_t places, int64_t longest) {
    const KeptPair pair = kept_tokens_of_pair(a, 31, b, 11, places, longest);
    return std::pair(pair.first, pair.second);
  };
  EXPECT_EQ(kept(40, 40), std::pair(int64_t{31}, int64_t{11}));
  EXPECT_EQ(kept(39, 40), std::pair(int64_t{30}, int64_t{11}));
  EXPECT_EQ(kept(20, 40), std::pair(int64_t{11}, int64_t{11}));
  EXPECT_EQ(kept(10, 40), std::pair(int64_t{6}, int64_t{6}));
  EXPECT_EQ(kept(6, 40), std::pair(int64_t{0}, int64_t{0}));
  EXPECT_EQ(kept(40, 25), std::pair(int64_t{26}, int64_t{11}));  // the model's context
  const KeptPair turned = kept_tokens_of_pair(b, 11, a, 31, 20, 40);
  EXPECT_EQ(std::pair(turned.first, turned.second), std::pair(int64_t{11}, int64_t{11}));
}

TEST(KeptTokens, MasksTheTrainedTokens) {
  const std::vector<bool> mask = trained_mask(kTurns, 14);
  ASSERT_EQ(mask.size(), 14u);
  for (size_t place = 0; place < mask.size(); ++place) EXPECT_EQ(mask[place], (place >= 4 && place < 8) || place >= 12);
}

}  // namespace
}  // namespace fledge::train
