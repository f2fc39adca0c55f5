#include "train/masked_source.h"

#include <gmock/gmock.h>

#include "nn/text/word_piece_trainer.h"
#include "train/data/test_support.h"
#include "train/tokenizer_source.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

/// A folder with a tokenizer and prepared text of documents of 1 to 60 words.
class MaskedSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    const base::Random random(4, 4);
    std::string lines;
    uint64_t position = 0;
    for (int document = 0; document < 400; ++document) {
      std::string text;
      for (uint64_t words = 1 + random.below(60, position++); words > 0; --words) {
        text += std::string(1, static_cast<char>('a' + random.below(26, position++))) + "nd ";
      }
      lines += R"({"text": ")" + text + "\"}\n";
    }
    base::write_file(folder_ / "text.jsonl", lines);
    nn::WordPieceTrainingOptions options;
    options.vocabulary_size = 70;
    nn::WordPieceTrainer trainer(options);
    trainer.add_text(lines);
    trainer.train().save(folder_ / "tokenizer");
    PrepareOptions prepare;
    prepare.inputs = {folder_ / "text.jsonl"};
    prepare.out = folder_ / "data";
    prepare.validation_fraction = 0.1;
    prepare_with_tokenizer(prepare, folder_ / "tokenizer");
  }

  Recipe recipe(bool next_sentence) const {
    Recipe recipe;
    recipe.data.path = (folder_ / "data").string();
    recipe.data.tokenizer = (folder_ / "tokenizer").string();
    recipe.objective.kind = "masked_language";
    recipe.objective.next_sentence = next_sentence;
    recipe.batch.sequence_length = 48;
    recipe.run.seed = 7;
    return recipe;
  }

  TemporaryFolder folder_;
  tensor::Arena arena_{"test"};
};

std::vector<int32_t> column(const Batch& batch, const char* name) {
  return batch.at(name).to_vector<int32_t>();
}

TEST_F(MaskedSourceTest, RowsAreFullOfWholeTextsAndMaskedPlacesHoldTheirTokens) {
  for (const bool next_sentence : {false, true}) {
    const Recipe given = recipe(next_sentence);
    const MaskedSource source(given, given.data.path);
    const auto cls = *source.tokenizer().class_token(), sep = *source.tokenizer().separator_token();
    int64_t padding = 0, tokens = 0, elsewhere = 0, texts = 0;
    for (int64_t first = 0; first < source.samples_per_epoch(); first += 4) {
      Batch batch;
      source.load(first, 4, arena_, batch);
      const auto ids = column(batch, "ids"), positions = column(batch, "positions");
      const auto starts = column(batch, "document_starts"), ends = column(batch, "document_ends");
      std::vector<int32_t> whole = ids;
      const auto places = column(batch, "masked_rows"), targets = column(batch, "targets");
      ASSERT_EQ(batch.target_tokens, static_cast<int64_t>(places.size()));
      for (size_t index = 0; index < places.size(); ++index) whole[static_cast<size_t>(places[index])] = targets[index];
      int64_t documents = 0;
      for (size_t place = 0; place < ids.size(); ++place) {
        const auto in_row = static_cast<int32_t>(place % 48);
        EXPECT_EQ(positions[place], in_row - starts[place]);
        const bool pads = whole[static_cast<size_t>(starts[place]) + place - place % 48] != cls;
        padding += pads;
        ++tokens;
        if (starts[place] == in_row) ++documents;
        if (ends[place] == in_row + 1 && !pads) {
          EXPECT_EQ(whole[place], sep);
        }
      }
      if (!next_sentence) continue;
      const auto labels = column(batch, "next_sentence");
      ASSERT_EQ(static_cast<int64_t>(labels.size()), documents);
      elsewhere += std::ranges::count(labels, 1);
      texts += std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
      const auto types = column(batch, "token_types");
      EXPECT_GT(std::ranges::count(types, 1), 0);
    }
    EXPECT_LT(static_cast<double>(padding), (next_sentence ? 0.06 : 0.03) * static_cast<double>(tokens));
    if (next_sentence) {
      EXPECT_NEAR(static_cast<double>(elsewhere) / static_cast<double>(texts), 0.5, 0.1);
    }
  }
}

TEST_F(MaskedSourceTest, ASampleIsAFunctionOfItsNumberAndEpochsDiffer) {
  const Recipe given = recipe(true);
  const MaskedSource source(given, given.data.path), again(given, given.data.path);
  const auto load = [&](const MaskedSource& from, int64_t first, int64_t rows) {
    Batch batch;
    from.load(first, rows, arena_, batch);
    return column(batch, "ids");
  };
  const auto pair = load(source, 10, 2);
  EXPECT_EQ(load(again, 10, 2), pair);
  EXPECT_EQ(load(source, 11, 1), std::vector<int32_t>(pair.begin() + 48, pair.end()));
  EXPECT_NE(load(source, 10 + source.samples_per_epoch(), 2), pair);
}

TEST_F(MaskedSourceTest, EvaluationGoesOverAllTextAlwaysTheSame) {
  const Recipe given = recipe(false);
  const MaskedSource source(given, given.data.path);
  int64_t targets = 0;
  for (int64_t index = 0; index < source.evaluation_batches(4); ++index) {
    Batch batch, other;
    source.load_evaluation(index, 4, arena_, batch);
    source.load_evaluation(index, 4, arena_, other);
    EXPECT_EQ(column(batch, "ids"), column(other, "ids"));
    targets += batch.target_tokens;
  }
  const auto validation = static_cast<double>(TokenData::open(given.data.path).split(kValidationSplit).tokens());
  EXPECT_NEAR(static_cast<double>(targets), 0.15 * validation, 0.02 * validation);
  Batch shape, batch;
  source.shape(4, arena_, shape);
  source.load(0, 4, arena_, batch);
  EXPECT_EQ(shape.at("ids").shape(), batch.at("ids").shape());
  EXPECT_GE(shape.at("targets").elements(), batch.at("targets").elements());
}

TEST_F(MaskedSourceTest, RefusesShortRows) {
  Recipe given = recipe(false);
  given.batch.sequence_length = 6;
  EXPECT_THAT(error_of([&] { MaskedSource(given, given.data.path); }), HasSubstr("too short"));
}

}  // namespace
}  // namespace fledge::train
