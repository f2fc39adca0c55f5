#include "train/labelled_source.h"
#include "base/json.h"

#include <gmock/gmock.h>

#include <set>

#include "nn/text/word_piece_trainer.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LabelledSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    nn::WordPieceTrainingOptions options;
    options.vocabulary_size = 60;
    nn::WordPieceTrainer trainer(options);
    for (int repeat = 0; repeat < 2; ++repeat) trainer.add_text("a good film and a bad film are good and bad films");
    trainer.train().save(folder_ / "tokenizer");
    std::string table = "text,label\n";
    for (int index = 0; index < 50; ++index)
      table += index % 2 == 0 ? "a good film,good\n" : "a bad bad film and film,bad\n";
    base::write_file(folder_ / "train.csv", table);
  }

  Recipe recipe() const {
    Recipe recipe;
    recipe.objective.kind = "classify";
    recipe.data.path = (folder_ / "train.csv").string();
    recipe.data.tokenizer = (folder_ / "tokenizer").string();
    recipe.data.val_fraction = 0.2;
    recipe.batch.sequence_length = 16;
    return recipe;
  }

  std::string error(const std::string& name, const std::string& content, Recipe given) const {
    base::write_file(folder_ / name, content);
    given.data.path = (folder_ / name).string();
    return error_of([&] { LabelledSource source(given); });
  }

  TemporaryFolder folder_;
  tensor::Arena arena_{"test"};
};

std::vector<int32_t> column(const Batch& batch, const char* name) {
  return batch.at(name).to_vector<int32_t>();
}

TEST_F(LabelledSourceTest, PacksExamplesWithoutPadding) {
  const LabelledSource source(recipe());
  EXPECT_THAT(source.labels(), ElementsAre("bad", "good"));
  EXPECT_EQ(source.samples_per_epoch(), 40);
  EXPECT_EQ(source.validation_examples(), 10);
  Batch batch;
  source.load(0, 8, arena_, batch);
  const auto labels = column(batch, "labels"), starts = column(batch, "document_starts");
  const auto ids = column(batch, "ids");
  ASSERT_EQ(labels.size(), 8u);
  EXPECT_EQ(batch.target_tokens, 8);
  // A row has as many texts as labels, each between [CLS] and [SEP], and its label.
  const auto cls = *source.tokenizer().class_token(), sep = *source.tokenizer().separator_token();
  const auto bad = source.tokenizer().encode("a bad bad film and film");
  size_t text = 0;
  for (size_t begin = 0; begin < ids.size(); ++text) {
    size_t end = begin;
    while (end < ids.size() && starts[end] == static_cast<int32_t>(begin)) ++end;
    EXPECT_EQ(ids[begin], cls);
    EXPECT_EQ(ids[end - 1], sep);
    EXPECT_EQ(end - begin == bad.size() + 2, labels[text] == 0) << text;
    begin = end;
  }
  EXPECT_EQ(text, 8u);
}

TEST_F(LabelledSourceTest, AnEpochTakesEveryExampleOnceInAnOrderOfItsOwn) {
  std::string table = "text\tlabel\n";
  for (int index = 0; index < 30; ++index) table += "a\t" + std::to_string(index) + "\n";
  base::write_file(folder_ / "many.tsv", table);
  Recipe given = recipe();
  given.data.path = (folder_ / "many.tsv").string();
  given.data.val_fraction = 0.0;
  const LabelledSource source(given), again(given);
  EXPECT_EQ(source.labels()[2], "2") << "whole numbers in their own order";
  const auto epoch = [&](const LabelledSource& from, int64_t number) {
    Batch batch;
    from.load(30 * number, 30, arena_, batch);
    return column(batch, "labels");
  };
  const auto first = epoch(source, 0), second = epoch(source, 1);
  EXPECT_EQ(std::set<int32_t>(first.begin(), first.end()).size(), 30u);
  EXPECT_EQ(std::set<int32_t>(second.begin(), second.end()).size(), 30u);
  EXPECT_NE(first, second);
  EXPECT_EQ(epoch(again, 1), second);
}

TEST_F(LabelledSourceTest, EvaluationTakesEveryExampleInOrder) {
  const LabelledSource source(recipe());
  std::vector<int32_t> numbers;
  for (int64_t index = 0; index < source.evaluation_batches(4); ++index) {
    Batch batch;
    source.load_evaluation(index, 4, arena_, batch);
    const auto some = column(batch, "examples");
    numbers.insert(numbers.end(), some.begin(), some.end());
    EXPECT_EQ(column(batch, "labels").size(), some.size());
  }
  EXPECT_THAT(numbers, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(LabelledSourceTest, CutsPairsFromTheLongerSideAndSaysSo) {
  base::write_file(folder_ / "pairs.jsonl",
                   R"({"text": "good good good good good good good good good", "second": "bad film", "label": 0.5})"
                   "\n"
                   R"({"text": "good", "second": "", "label": "-1e1"})"
                   "\n");
  Recipe given = recipe();
  given.data.path = (folder_ / "pairs.jsonl").string();
  given.data.text_pair_column = "second";
  given.data.val_fraction = 0.0;
  given.objective.task = "regression";
  given.batch.sequence_length = 8;
  const LabelledSource source(given);
  ASSERT_EQ(source.notes().size(), 1u);
  EXPECT_THAT(source.notes()[0], HasSubstr("1 of 2 texts are longer"));
  Batch batch;
  source.load(0, 2, arena_, batch);
  const auto types = column(batch, "token_types");
  EXPECT_EQ(types.size(), 8u + 4u);
  EXPECT_EQ(std::ranges::count(types, 1), 3 + 1);
  std::vector<float> scores = batch.at("scores").to_vector<float>();
  std::ranges::sort(scores);
  EXPECT_THAT(scores, ElementsAre(-10.0F, 0.5F));
}

TEST_F(LabelledSourceTest, AWordsLabelStandsAtItsFirstToken) {
  base::write_file(folder_ / "words.jsonl", R"({"text": ["films", "good"], "label": ["N", "A"]})"
                                            "\n"
                                            R"({"text": "a  film", "label": "D N"})"
                                            "\n");
  Recipe given = recipe();
  given.data.path = (folder_ / "words.jsonl").string();
  given.data.val_fraction = 0.0;
  given.objective.task = "tokens";
  const LabelledSource source(given);
  EXPECT_THAT(source.labels(), ElementsAre("A", "D", "N"));
  Batch batch;
  source.load(0, 2, arena_, batch);
  const auto labels = column(batch, "labels");
  EXPECT_EQ(labels.size(), column(batch, "ids").size());
  EXPECT_EQ(batch.target_tokens, 4);
  EXPECT_EQ(std::ranges::count(labels, 2), 2);
  EXPECT_EQ(labels.front(), kIgnoredTarget);
}

TEST_F(LabelledSourceTest, RefusesWhatDoesNotFit) {
  Recipe given = recipe();
  EXPECT_THAT(error("one.csv", "text,label\na,x\nb,x\n", given), HasSubstr("all examples have the same label, \"x\""));
  EXPECT_THAT(error("none.csv", "text,label\n", given), HasSubstr("holds no example"));
  EXPECT_THAT(error("empty.csv", "text,label\na,\n", given), HasSubstr("line 2: \"label\" is empty"));
  EXPECT_THAT(error("text.csv", "text,label\n,x\n", given), HasSubstr("line 2: \"text\" is empty"));
  given.data.labels = {"x", "y"};
  EXPECT_THAT(error("set.csv", "text,label\na,x\nb,z\nc,y\n", given),
              HasSubstr("the label \"z\" is not one of the 2 labels (x, y)"));
  EXPECT_THAT(error("class.csv", "text,label\na,x\nb,x\nc,x\nd,x\n", given),
              HasSubstr("data.labels names \"y\", but no training example"));
  given.data.labels = {"x", "x"};
  EXPECT_THAT(error("twice.csv", "text,label\na,x\nb,x\n", given), HasSubstr("a label twice"));
  given = recipe();
  given.objective.task = "regression";
  EXPECT_THAT(error("number.csv", "text,label\na,1.5x\n", given), HasSubstr("\"1.5x\", but a number was expected"));
  given.objective.task = "tokens";
  EXPECT_THAT(error("words.csv", "text,label\na b,X\n", given),
              HasSubstr("\"text\" has 2 words and \"label\" 1 labels"));
  given.data.text_pair_column = "text";
  EXPECT_THAT(error("words.csv", "text,label\na,X\n", given), HasSubstr("no meaning"));
  given = recipe();
  given.data.tokenizer.clear();
  EXPECT_THAT(error("any.csv", "text,label\na,x\n", given), HasSubstr("needs data.tokenizer"));
}

TEST(LabelsOfModel, AreItsNamesUnlessTheyArePlaceholders) {
  base::Json config = {{"architectures", {"BertForSequenceClassification"}}, {"id2label", {{"0", "no"}, {"1", "yes"}}}};
  EXPECT_THAT(labels_of_model(config), ElementsAre("no", "yes"));
  config["id2label"] = {{"0", "LABEL_0"}, {"1", "LABEL_1"}};
  EXPECT_TRUE(labels_of_model(config).empty());
  EXPECT_TRUE(labels_of_model({{"architectures", {"BertModel"}}, {"id2label", {{"0", "no"}}}}).empty());
}

}  // namespace
}  // namespace fledge::train
