#include "train/data/prepare.h"

#include <gmock/gmock.h>

#include "base/parallel.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

PrepareOptions options_for(const TemporaryFolder& folder, std::vector<std::string> inputs, double fraction) {
  PrepareOptions options;
  for (const auto& input : inputs) options.inputs.push_back(folder / input);
  options.out = folder / "out";
  options.validation_fraction = fraction;
  return options;
}

std::string text_of_split(const TemporaryFolder& folder, const char* split) {
  return text_of(TokenData::open(folder / "out").split(split));
}

TEST(Prepare, WithoutValidationEveryByteIsKept) {
  const TemporaryFolder folder;
  base::write_file(folder / "a.txt", "one\ntwo<|endoftext|>three");
  base::write_file(folder / "b.jsonl", "{\"text\": \"four\"}\n{\"text\": \"\"}\n{\"text\": \"five\"}\n");
  const DataIndex index = prepare_data(options_for(folder, {"a.txt", "b.jsonl"}, 0), byte_tokenizer());
  EXPECT_EQ(text_of_split(folder, kTrainSplit), "one\ntwo|three|four|five|");
  const SplitCounts& counts = index.splits.at(kTrainSplit).counts;
  EXPECT_EQ(counts.documents, 4);
  EXPECT_EQ(counts.text_bytes, 20);
  EXPECT_EQ(counts.tokens, 24);
  EXPECT_FALSE(TokenData::open(folder / "out").has_split(kValidationSplit));
}

TEST(Prepare, FewDocumentsGiveTheirLastPart) {
  const TemporaryFolder folder;
  std::string first, second;
  for (int line = 0; line < 1000; ++line) first += "novel one, line " + std::to_string(line) + "\n";
  for (int line = 0; line < 500; ++line) second += "novel two, line " + std::to_string(line) + "\n";
  base::write_file(folder / "a.txt", first);
  base::write_file(folder / "b.txt", second);
  for (const size_t piece_bytes : {size_t{64}, size_t{1000}, size_t{1} << 20}) {
    PrepareOptions options = options_for(folder, {"a.txt", "b.txt"}, 0.05);
    options.documents.piece_bytes = piece_bytes;
    options.shard_bytes = 10000;
    options.batch_bytes = 5000;
    prepare_data(options, byte_tokenizer());
    const std::string train = text_of_split(folder, kTrainSplit), held_out = text_of_split(folder, kValidationSplit);
    const size_t train_end = train.find('|'), held_out_end = held_out.find('|');
    EXPECT_EQ(train.substr(0, train_end) + held_out.substr(0, held_out_end), first);
    EXPECT_EQ(train.substr(train_end + 1, train.size() - train_end - 2) +
                  held_out.substr(held_out_end + 1, held_out.size() - held_out_end - 2),
              second);
    EXPECT_EQ(train[train_end - 1], '\n');
    // The cut is at the first end of a line behind the wanted byte, or at the end of a piece of at most two pieces'
    // size.
    EXPECT_NEAR(static_cast<double>(held_out_end), 0.05 * static_cast<double>(first.size()), 25);
  }
}

TEST(Prepare, ShortDocumentsAreDividedToo) {
  const TemporaryFolder folder;
  base::write_file(folder / "a.jsonl",
                   "{\"text\": \"abcdefgh\"}\n{\"text\": \"a\"}\n{\"text\": \"\xc3\xa9\xc3\xa9\"}\n");
  prepare_data(options_for(folder, {"a.jsonl"}, 0.5), byte_tokenizer());
  EXPECT_EQ(text_of_split(folder, kTrainSplit), "abcd|\xc3\xa9|");
  EXPECT_EQ(text_of_split(folder, kValidationSplit), "efgh|a|\xc3\xa9|");
}

TEST(Prepare, ManyDocumentsAreDrawn) {
  const TemporaryFolder folder;
  std::string lines, train, held_out;
  for (int document = 0; document < 1000; ++document) {
    const std::string text = "document " + std::to_string(document);
    lines += "{\"text\": \"" + text + "\"}\n";
    (is_validation_document(document, 0.05) ? held_out : train) += text + "|";
  }
  base::write_file(folder / "a.jsonl", lines);
  const DataIndex index = prepare_data(options_for(folder, {"a.jsonl"}, 0.05), byte_tokenizer());
  EXPECT_EQ(text_of_split(folder, kTrainSplit), train);
  EXPECT_EQ(text_of_split(folder, kValidationSplit), held_out);
  EXPECT_EQ(index.splits.at(kValidationSplit).counts.documents, 50);
}

TEST(Prepare, DrawsOneDocumentOfEveryStratum) {
  for (const double fraction : {0.5, 0.3, 0.1, 0.05, 1.0 / 3, 0.007}) {
    const int64_t documents = 20000;
    int64_t drawn = 0;
    for (int64_t document = 0; document < documents; ++document) {
      drawn += is_validation_document(document, fraction);
      // Every prefix has its share, to the one stratum that is still open.
      ASSERT_NEAR(static_cast<double>(drawn), static_cast<double>(document + 1) * fraction, 1.0 + 1e-9);
    }
  }
  EXPECT_FALSE(is_validation_document(3, 0));
  is_validation_document(1000, 1e-12);  // must not take a time that grows with 1 / fraction
}

TEST(Prepare, IsTheSameOnAnyNumberOfThreadsAndForAnyBatch) {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 20000; ++line) text += std::to_string(line * 7919 % 100003) + (line % 7 ? "\n" : "\n\n");
  base::write_file(folder / "a.txt", text);
  std::string expected;
  const int threads = base::thread_count();
  for (const int count : {1, 4}) {
    for (const size_t batch_bytes : {3000, 1 << 20}) {
      base::set_thread_count(count);
      PrepareOptions options = options_for(folder, {"a.txt"}, 0.1);
      options.documents.piece_bytes = 500;
      options.batch_bytes = batch_bytes;
      options.shard_bytes = 50000;
      prepare_data(options, byte_tokenizer());
      const std::string index = base::read_file(folder / "out/index.json");  // holds the checksums of the shards
      if (expected.empty()) expected = index;
      EXPECT_EQ(index, expected);
    }
  }
  base::set_thread_count(threads);
}

TEST(Prepare, ReportsProgress) {
  const TemporaryFolder folder;
  base::write_file(folder / "a.txt", std::string(100000, 'a'));
  base::write_file(folder / "b.txt", std::string(50000, 'b'));
  PrepareOptions options = options_for(folder, {"a.txt", "b.txt"}, 0);
  options.batch_bytes = 1000;
  options.documents.piece_bytes = 500;
  PrepareProgress last;
  int calls = 0;
  options.progress = [&](const PrepareProgress& progress) {
    EXPECT_GE(progress.bytes_done, last.bytes_done);
    EXPECT_EQ(progress.bytes_total, 150000);
    last = progress;
    ++calls;
  };
  prepare_data(options, byte_tokenizer());
  EXPECT_GT(calls, 50);
  EXPECT_EQ(last.bytes_done, 150000);
  EXPECT_EQ(last.tokens, 150002);
  EXPECT_EQ(last.documents, 2);
}

TEST(Prepare, AFailureLeavesTheOldDataSet) {
  const TemporaryFolder folder;
  base::write_file(folder / "a.txt", "old");
  prepare_data(options_for(folder, {"a.txt"}, 0), byte_tokenizer());
  base::write_file(folder / "a.txt", "new\nwords");
  DocumentTokenizer broken = byte_tokenizer();
  broken.encode = [](std::string_view, std::vector<int32_t>&) { throw base::Error("the tokenizer failed"); };
  EXPECT_EQ(error_of([&] { prepare_data(options_for(folder, {"a.txt"}, 0), broken); }), "the tokenizer failed");
  broken.encode = [](std::string_view, std::vector<int32_t>& ids) { ids.push_back(257); };
  EXPECT_THAT(error_of([&] { prepare_data(options_for(folder, {"a.txt"}, 0), broken); }), HasSubstr("the id 257"));
  EXPECT_EQ(text_of_split(folder, kTrainSplit), "old|");
  EXPECT_FALSE(std::filesystem::exists(folder / "out.partial"));
  prepare_data(options_for(folder, {"a.txt"}, 0), byte_tokenizer());
  EXPECT_EQ(text_of_split(folder, kTrainSplit), "new\nwords|");
}

TEST(Prepare, RefusesWhatCannotBe) {
  const TemporaryFolder folder;
  base::write_file(folder / "empty.txt", "");
  base::write_file(folder / "a.txt", "a");
  const auto error_with = [](const PrepareOptions& options) {
    return error_of([&] { prepare_data(options, byte_tokenizer()); });
  };
  EXPECT_THAT(error_with(options_for(folder, {}, 0)), HasSubstr("no input file"));
  EXPECT_THAT(error_with(options_for(folder, {"empty.txt"}, 0)), HasSubstr("empty.txt: no text was found"));
  EXPECT_THAT(error_with(options_for(folder, {"a.txt"}, 0.05)), HasSubstr("too little text"));
  EXPECT_THAT(error_with(options_for(folder, {"a.txt"}, 0.6)), HasSubstr("a validation fraction of 0 to 0.5"));
  EXPECT_THAT(error_with(options_for(folder, {"none.txt"}, 0.05)), HasSubstr("none.txt: there is no such file"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  base::create_folder(folder / "out");
  base::write_file(folder / "out/letters.txt", "dear");
  EXPECT_THAT(error_with(options_for(folder, {"a.txt"}, 0)), HasSubstr("the folder holds letters.txt"));
  EXPECT_EQ(base::read_file(folder / "out/letters.txt"), "dear");
}

}  // namespace
}  // namespace fledge::train
