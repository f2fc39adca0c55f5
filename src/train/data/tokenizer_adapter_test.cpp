#include "train/data/tokenizer_adapter.h"

#include <gmock/gmock.h>

#include "base/random.h"
#include "nn/text/bpe_trainer.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

/// Text of everything that split patterns treat differently, in lines: words, contractions, numbers, punctuation, white
/// space of several kinds, bytes that are not UTF-8.
std::string mixed_text(size_t bytes) {
  const std::vector<std::string> parts{
      "it's",     "WE'LL",        " word",        "  two",    "12345",    " 7",   "...",          "!?", "(a)",
      "\n",       "\n",           "\n",           "\n\n",     " \n",      "\r\n", "\t",           " ",  "/x",
      "\xc3\xa9", "\xe4\xb8\xad", "\xe3\x80\x80", "\xc2\xa0", "\xcc\x81", "\xff", "\xe2\x80\x99s"};
  const base::Random random(5, 1);
  std::string text;
  for (uint64_t position = 0; text.size() < bytes; ++position) text += parts[random.below(parts.size(), position)];
  return text;
}

nn::Tokenizer train_tokenizer(nn::SplitPattern pattern, std::vector<std::string> special, const std::string& text) {
  nn::BpeTrainingOptions options;
  options.vocabulary_size = 500;
  options.pattern = pattern;
  options.special_tokens = std::move(special);
  nn::BpeTrainer trainer(options);
  trainer.add_text(text);
  return trainer.train();
}

TEST(TokenizerAdapter, TokensOfPiecesAreTheTokensOfTheWhole) {
  const std::string text = mixed_text(400000);
  for (const auto pattern : {nn::SplitPattern::kGpt2, nn::SplitPattern::kLlama3, nn::SplitPattern::kQwen2}) {
    const TemporaryFolder folder;
    base::write_file(folder / "a.txt", text);
    const auto tokenizer = std::make_shared<const nn::Tokenizer>(train_tokenizer(pattern, {"<|endoftext|>"}, text));
    std::vector<int32_t> expected = tokenizer->encode(text);
    expected.push_back(*tokenizer->token_id("<|endoftext|>"));
    PrepareOptions options;
    options.inputs = {folder / "a.txt"};
    options.out = folder / "out";
    options.validation_fraction = 0;
    options.documents.piece_bytes = 2000;  // about 200 cuts
    const DocumentTokenizer adapted = document_tokenizer(tokenizer);
    EXPECT_TRUE(adapted.splits_at_lines);
    prepare_data(options, adapted);
    const TokenData data = TokenData::open(folder / "out");
    EXPECT_EQ(data.tokenizer().hash, tokenizer_hash(*tokenizer));
    EXPECT_TRUE(all_tokens(data.split(kTrainSplit)) == expected) << nn::split_regex(pattern);
  }
}

TEST(TokenizerAdapter, WithoutASplitPatternDocumentsStayWhole) {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 200; ++line) text += "same line\n";
  base::write_file(folder / "a.txt", text + "\n<|endoftext|>\n" + text);
  const auto tokenizer =
      std::make_shared<const nn::Tokenizer>(train_tokenizer(nn::SplitPattern::kWhole, {"<|endoftext|>"}, text + text));
  const DocumentTokenizer adapted = document_tokenizer(tokenizer);
  EXPECT_FALSE(adapted.splits_at_lines);
  PrepareOptions options;
  options.inputs = {folder / "a.txt"};
  options.out = folder / "out";
  options.validation_fraction = 0;
  options.documents.piece_bytes = 100;
  prepare_data(options, adapted);
  std::vector<int32_t> expected = tokenizer->encode(text);
  expected.push_back(adapted.identity.end_of_text_id);
  const size_t half = expected.size();
  for (size_t place = 0; place < half; ++place) expected.push_back(expected[place]);
  EXPECT_EQ(all_tokens(TokenData::open(folder / "out").split(kTrainSplit)), expected);
}

TEST(TokenizerAdapter, NeedsATokenThatEndsATextAndTellsTokenizersApart) {
  const std::string text = mixed_text(2000);
  const auto tokenizer = [&](std::vector<std::string> special) {
    return std::make_shared<const nn::Tokenizer>(train_tokenizer(nn::SplitPattern::kGpt2, std::move(special), text));
  };
  EXPECT_THAT(error_of([&] { document_tokenizer(tokenizer({})); }), HasSubstr("no token that ends a text"));
  const auto one = document_tokenizer(tokenizer({"<|endoftext|>"}));
  const auto other = document_tokenizer(tokenizer({"<|endoftext|>", "<|other|>"}));
  EXPECT_NE(one.identity.hash, other.identity.hash);
  EXPECT_EQ(one.identity, document_tokenizer(tokenizer({"<|endoftext|>"})).identity);
  // What looks like a special token in a text is text.
  std::vector<int32_t> ids;
  one.encode("a<|endoftext|>b", ids);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), one.identity.end_of_text_id), 0);
}

}  // namespace
}  // namespace fledge::train
