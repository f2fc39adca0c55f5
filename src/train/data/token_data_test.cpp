#include "train/data/token_data.h"
#include "base/json.h"

#include <gmock/gmock.h>

#include <numeric>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// 100 tokens 0, 1, 2, ... in documents that begin at 0, 3, 40 and 41, in shards of 16 tokens or so.
void write_sample(const std::filesystem::path& folder, int64_t vocabulary, size_t shard_bytes = 64) {
  base::create_folder(folder);
  TokenDataWriter writer(folder, {"hash", vocabulary, 5}, shard_bytes);
  std::vector<int32_t> ids(100);
  std::iota(ids.begin(), ids.end(), 0);
  const auto part = [&](size_t first, size_t last) {
    return std::span<const int32_t>(ids).subspan(first, last - first);
  };
  size_t first = 0;
  for (const size_t last : {3, 40, 41, 100}) {
    writer.begin_document(kTrainSplit);
    writer.append(kTrainSplit, part(first, last));
    first = last;
  }
  writer.add_text_bytes(kTrainSplit, 321);
  writer.finish();
}

class TokenDataOfWidth : public ::testing::TestWithParam<int64_t> {};

TEST_P(TokenDataOfWidth, ReadsAcrossShards) {
  const TemporaryFolder folder;
  write_sample(folder / "data", GetParam());
  const TokenData data = TokenData::open(folder / "data");
  const TokenSplit& split = data.split(kTrainSplit);
  split.verify();
  EXPECT_GT(data.index().splits.at(kTrainSplit).shards.size(), 2u);
  EXPECT_EQ(split.tokens(), 100);
  EXPECT_EQ(split.counts().documents, 4);
  EXPECT_EQ(split.counts().text_bytes, 321);
  EXPECT_EQ(data.tokenizer(), (TokenizerIdentity{"hash", GetParam(), 5}));
  const std::vector<int64_t> document_begins{0, 3, 40, 41};
  for (int64_t first = 0; first <= 100; ++first) {
    for (int64_t count = 0; first + count <= 100; ++count) {
      std::vector<int32_t> ids(static_cast<size_t>(count)), starts(ids.size());
      split.read(first, ids);
      split.read_document_starts(first, starts);
      for (int64_t place = 0; place < count; ++place) {
        ASSERT_EQ(ids[static_cast<size_t>(place)], first + place);
        int64_t begin = 0;
        for (const int64_t candidate : document_begins)
          if (candidate <= first + place) begin = candidate;
        ASSERT_EQ(starts[static_cast<size_t>(place)], std::max<int64_t>(0, begin - first));
      }
    }
  }
  std::vector<int32_t> ids(2);
  EXPECT_THAT(error_of([&] { split.read(99, ids); }), HasSubstr("tokens 99 to 101 were asked for, and it has 100"));
  EXPECT_THAT(error_of([&] { split.read(-1, ids); }), HasSubstr("were asked for"));
}
INSTANTIATE_TEST_SUITE_P(Ids, TokenDataOfWidth, ::testing::Values(100, 65536, 65537));

TEST(TokenData, IndexComesBackTheSame) {
  const TemporaryFolder folder;
  write_sample(folder / "data", 300);
  const std::string text = base::read_file(folder / "data/index.json");
  EXPECT_EQ(DataIndex::parse(text, "index").text(), text);
}

TEST(TokenData, RefusesIdsOutsideTheVocabularyWhenWriting) {
  const TemporaryFolder folder;
  TokenDataWriter writer(folder.path(), {"hash", 10, 5}, 64);
  const std::vector<int32_t> large{3, 10}, negative{-1};
  EXPECT_THAT(error_of([&] { writer.append(kTrainSplit, large); }),
              HasSubstr("the id 10, outside its vocabulary of 10"));
  EXPECT_THAT(error_of([&] { writer.append(kTrainSplit, negative); }), HasSubstr("the id -1"));
}

TEST(TokenData, NoIdOutsideTheVocabularyLeavesAReader) {
  for (const int64_t vocabulary : {100, 70000}) {
    const TemporaryFolder folder;
    write_sample(folder / "data", vocabulary, 1 << 20);
    const auto path = folder / "data/train-00000.shard";
    std::string bytes = base::read_file(path);
    const Shard shard = Shard::open(path);
    // The ids are the first array, behind the header and a table of two columns; this changes token 7.
    const size_t width = vocabulary > 65536 ? 4 : 2;
    bytes[32 + 2 * 80 + 7 * width + width - 1] = static_cast<char>(0xff);
    base::write_file(path, bytes);
    const TokenData data = TokenData::open(folder / "data");  // opening reads no ids
    const TokenSplit& split = data.split(kTrainSplit);
    std::vector<int32_t> ids(7);
    split.read(0, ids);
    EXPECT_THAT(ids, ElementsAre(0, 1, 2, 3, 4, 5, 6));
    EXPECT_THAT(error_of([&] { split.read(5, ids); }), HasSubstr("train-00000.shard: token 7 is the id"));
    EXPECT_THAT(error_of([&] { split.verify(); }), HasSubstr("the checksum of column \"ids\" is wrong"));
  }
}

TEST(TokenData, RefusesFoldersThatAreNotWhole) {
  const TemporaryFolder folder;
  write_sample(folder / "data", 300);
  const auto open = [&] { return error_of([&] { TokenData::open(folder / "data"); }); };
  ASSERT_EQ(open(), "");
  EXPECT_THAT(error_of([&] { TokenData::open(folder / "none"); }), HasSubstr("not a data set: it has no index.json"));
  EXPECT_THAT(error_of([&] { TokenData::open(folder / "data").split("test"); }), HasSubstr("no split \"test\""));

  const auto shard = folder / "data/train-00001.shard";
  const std::string bytes = base::read_file(shard);
  base::write_file(shard, bytes.substr(0, bytes.size() - 3));
  EXPECT_THAT(open(), HasSubstr("cut short"));
  base::write_file(shard, base::read_file(folder / "data/train-00000.shard"));
  EXPECT_THAT(open(), HasSubstr("train-00001.shard: not the shard that index.json lists"));
  std::filesystem::remove(shard);
  EXPECT_THAT(open(), HasSubstr("train-00001.shard: cannot be opened"));
}

TEST(DataIndex, RefusesWhatDoesNotAddUp) {
  const TemporaryFolder folder;
  write_sample(folder / "data", 300);
  const base::Json good = base::read_json(folder / "data/index.json");
  const auto error_with = [&](const char* pointer, const base::Json& value) {
    base::Json bad = good;
    bad[base::Json::json_pointer(pointer)] = value;
    return error_of([&] { DataIndex::parse(bad.dump(), "index.json"); });
  };
  EXPECT_THAT(error_with("/format", "other"), HasSubstr("\"format\" is not \"fledge-data\""));
  EXPECT_THAT(error_with("/version", 2), HasSubstr("format version 2"));
  EXPECT_THAT(error_with("/tokenizer/vocabulary_size", 0), HasSubstr("\"vocabulary_size\" holds 0"));
  EXPECT_THAT(error_with("/tokenizer/end_of_text_id", 300), HasSubstr("\"end_of_text_id\" holds 300"));
  EXPECT_THAT(error_with("/tokenizer", 3), HasSubstr("\"tokenizer\" must hold an object"));
  EXPECT_THAT(error_with("/columns/0/dtype", "u1"), HasSubstr("element type"));
  EXPECT_THAT(error_with("/splits/train/tokens", 101), HasSubstr("not the sums over its shards"));
  EXPECT_THAT(error_with("/splits/train/tokens", int64_t{1} << 62), HasSubstr("\"tokens\" holds"));
  EXPECT_THAT(error_with("/splits/train/tokens", ~uint64_t{0}), HasSubstr("tokens"));
  EXPECT_THAT(error_with("/splits/train/shards/0/tokens", int64_t{1} << 47), HasSubstr("not the sums"));
  EXPECT_THAT(error_with("/splits/train/shards/0/file", "../../etc/passwd"), HasSubstr("plain file name"));
  EXPECT_THAT(error_with("/splits/train/shards/0", 1), HasSubstr("\"file\" is missing"));
  EXPECT_THAT(error_with("/splits/train/shards", "x"), HasSubstr("\"shards\" must hold a list"));
}

}  // namespace
}  // namespace fledge::train
