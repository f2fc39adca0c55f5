#include "train/data/shard.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <cstring>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A shard with a flat and a ragged column, as bytes.
std::string sample_shard(const std::filesystem::path& path) {
  ShardWriter writer({{"ids", tensor::DType::u16, false}, {"pairs", tensor::DType::f32, true}});
  const std::vector<uint16_t> ids{1, 2, 65535};
  writer.append(0, std::span<const uint16_t>(ids));
  const std::vector<float> row{0.5f, -1.0f};
  writer.append(1, std::span<const float>(row));
  writer.end_row(1);
  writer.end_row(1);
  writer.append(1, std::span<const float>(row).first(1));
  writer.end_row(1);
  writer.write(path);
  return base::read_file(path);
}

/// Opens bytes from memory that is aligned as a mapped file is.
Shard open_bytes(const std::string& bytes, std::vector<uint64_t>& memory) {
  memory.assign(bytes.size() / 8 + 1, 0);
  std::memcpy(memory.data(), bytes.data(), bytes.size());
  return Shard(std::as_bytes(std::span(memory)).first(bytes.size()), "x.shard");
}

std::string error_of_bytes(const std::string& bytes) {
  return error_of([&] {
    std::vector<uint64_t> memory;
    open_bytes(bytes, memory).verify_checksums();
  });
}

/// Writes `value` at `offset` and makes the table's checksum right again, as a hostile file would.
template <typename T>
std::string forge(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
  std::memset(bytes.data() + 24, 0, 4);
  const auto checksum = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), 32 + 2 * 80));
  std::memcpy(bytes.data() + 24, &checksum, 4);
  return bytes;
}

TEST(Shard, KeepsFlatAndRaggedColumns) {
  const TemporaryFolder folder;
  sample_shard(folder / "a.shard");
  const Shard shard = Shard::open(folder / "a.shard");
  shard.verify_checksums();
  ASSERT_EQ(shard.columns().size(), 2u);
  EXPECT_THAT(shard.elements<uint16_t>("ids"), ElementsAre(1, 2, 65535));
  EXPECT_THAT(shard.row<float>("pairs", 0), ElementsAre(0.5f, -1.0f));
  EXPECT_THAT(shard.row<float>("pairs", 1), ElementsAre());
  EXPECT_THAT(shard.row<float>("pairs", 2), ElementsAre(0.5f));
  EXPECT_THAT(error_of([&] { shard.row<float>("pairs", 3); }), HasSubstr("has 3 rows; there is no row 3"));
  EXPECT_THAT(error_of([&] { shard.row<uint16_t>("ids", 0); }), HasSubstr("has 0 rows"));
  EXPECT_THAT(error_of([&] { shard.elements<float>("ids"); }), HasSubstr("holds u16 where f32 was expected"));
  EXPECT_THAT(error_of([&] { shard.elements<float>("masks"); }), HasSubstr("\"masks\" is missing"));
}

TEST(Shard, RefusesEveryTruncation) {
  const TemporaryFolder folder;
  const std::string bytes = sample_shard(folder / "a.shard");
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(error_of_bytes(bytes.substr(0, size)), "") << "cut to " << size << " bytes";
  EXPECT_EQ(error_of_bytes(bytes), "");
}

TEST(Shard, NoticesEveryFlippedBitOfTheContent) {
  const TemporaryFolder folder;
  const std::string bytes = sample_shard(folder / "a.shard");
  std::vector<uint64_t> memory;
  const Shard whole = open_bytes(bytes, memory);
  for (size_t position = 0; position < bytes.size(); ++position) {
    std::string damaged = bytes;
    damaged[position] = static_cast<char>(damaged[position] ^ 0x10);
    if (error_of_bytes(damaged) != "") continue;
    // The only bytes without a checksum are those that align the arrays.
    for (const auto& column : whole.columns()) {
      const auto begin = static_cast<size_t>(column.bytes.data() - std::as_bytes(std::span(memory)).data());
      EXPECT_FALSE(position >= begin && position < begin + column.bytes.size()) << position;
    }
    EXPECT_GE(position, 32u + 2 * 80);
  }
}

TEST(Shard, RefusesForgedTables) {
  const TemporaryFolder folder;
  const std::string bytes = sample_shard(folder / "a.shard");
  const size_t ids = 32, pairs = ids + 80;
  const size_t elements = 40, offset = 48, rows = 56, rows_offset = 64;
  EXPECT_EQ(error_of_bytes(forge(bytes, ids + elements, uint64_t{3})), "");
  EXPECT_THAT(error_of_bytes(forge(bytes, 8, uint32_t{2})), HasSubstr("format version 2"));
  EXPECT_THAT(error_of_bytes(forge(bytes, 12, uint32_t{0xffffffff})), HasSubstr("columns, more than the file"));
  EXPECT_THAT(error_of_bytes(forge(bytes, ids + elements, uint64_t{1} << 63)), HasSubstr("points outside the file"));
  EXPECT_THAT(error_of_bytes(forge(bytes, ids + elements, ~uint64_t{0})), HasSubstr("points outside the file"));
  EXPECT_THAT(error_of_bytes(forge(bytes, ids + offset, ~uint64_t{7})), HasSubstr("points outside the file"));
  EXPECT_THAT(error_of_bytes(forge(bytes, ids + offset, uint64_t{193})), HasSubstr("points outside the file"));
  EXPECT_THAT(error_of_bytes(forge(bytes, pairs + rows, ~uint64_t{0})), HasSubstr("too many rows"));
  EXPECT_THAT(error_of_bytes(forge(bytes, pairs + rows, uint64_t{2})), HasSubstr("do not rise"));
  EXPECT_THAT(error_of_bytes(forge(bytes, pairs + elements, uint64_t{2})), HasSubstr("do not rise"));
  EXPECT_THAT(error_of_bytes(forge(bytes, pairs + rows_offset, uint64_t{1} << 40)), HasSubstr("outside the file"));
  EXPECT_THAT(error_of_bytes(forge(bytes, ids + 32, uint64_t{0x31})), HasSubstr("element type"));
  EXPECT_THAT(error_of_bytes(forge(bytes, ids, uint8_t{7})), HasSubstr("no printable name"));
  EXPECT_THAT(error_of_bytes("FLEDGESH"), HasSubstr("cut short"));
  EXPECT_THAT(error_of_bytes(std::string(64, 'x')), HasSubstr("not a shard"));
}

TEST(Shard, RefusesNamesThatItCouldNotKeep) {
  const auto make = [](std::vector<ColumnSpec> columns) {
    return error_of([&] { ShardWriter writer(std::move(columns)); });
  };
  EXPECT_THAT(make({{"", tensor::DType::u8, false}}), HasSubstr("1 to 32 printable"));
  EXPECT_THAT(make({{std::string(33, 'a'), tensor::DType::u8, false}}), HasSubstr("1 to 32 printable"));
  EXPECT_THAT(make({{"a", tensor::DType::u8, false}, {"a", tensor::DType::u8, false}}), HasSubstr("two shard columns"));
  EXPECT_EQ(make({{std::string(32, 'a'), tensor::DType::u8, false}}), "");
}

}  // namespace
}  // namespace fledge::train
