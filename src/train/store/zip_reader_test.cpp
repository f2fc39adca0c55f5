#include "train/store/zip_reader.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

void put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::string deflated(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(text.size() + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct Member {
  std::string name, content;
  bool packs = true;
};

/// The fields that a local and a central header share, from the method on.
void put_fields(std::string& out, const Member& member, const std::string& packed) {
  put(out, member.packs ? 8 : 0, 2);
  put(out, 0, 4);
  put(out,
      static_cast<uint32_t>(
          crc32(0, reinterpret_cast<const Bytef*>(member.content.data()), static_cast<uInt>(member.content.size()))),
      4);
  put(out, static_cast<uint32_t>(packed.size()), 4);
  put(out, static_cast<uint32_t>(member.content.size()), 4);
  put(out, static_cast<uint32_t>(member.name.size()), 2);
  put(out, 0, 2);
}

std::string archive_of(const std::vector<Member>& members) {
  std::string out, directory;
  for (const Member& member : members) {
    const std::string packed = member.packs ? deflated(member.content) : member.content;
    put(directory, 0x02014b50, 4);
    put(directory, 20, 2);
    put(directory, 20, 2);
    put(directory, 0, 2);
    put_fields(directory, member, packed);
    put(directory, 0, 6);
    put(directory, 0, 2);
    put(directory, 0, 2);
    put(directory, static_cast<uint32_t>(out.size()), 4);
    directory += member.name;
    put(out, 0x04034b50, 4);
    put(out, 20, 2);
    put(out, 0, 2);
    put_fields(out, member, packed);
    out += member.name + packed;
  }
  const auto start = static_cast<uint32_t>(out.size());
  out += directory;
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, static_cast<uint32_t>(members.size()), 2);
  put(out, static_cast<uint32_t>(members.size()), 2);
  put(out, static_cast<uint32_t>(directory.size()), 4);
  put(out, start, 4);
  put(out, 0, 2);
  return out;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string extracted(const ZipReader& reader, const std::string& name) {
  std::string content;
  reader.extract(reader.find(name), [&](std::string_view piece) { content += piece; });
  return content;
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60000; ++i) text += std::to_string(i * 31);
  return text;
}

TEST(ZipReader, ReadsStoredAndDeflatedFiles) {
  const std::string archive = archive_of({{"a/b.txt", long_text()}, {"empty", ""}, {"plain", "as it is", false}});
  const ZipReader reader(bytes_of(archive), "test.zip");
  ASSERT_EQ(reader.entries().size(), 3u);
  EXPECT_EQ(extracted(reader, "a/b.txt"), long_text());
  EXPECT_EQ(extracted(reader, "empty"), "");
  EXPECT_EQ(extracted(reader, "plain"), "as it is");
  EXPECT_THAT(error_of([&] { reader.find("c"); }), HasSubstr("holds no c"));
  const TemporaryFolder folder;
  reader.extract_to(reader.find("plain"), folder / "out");
  EXPECT_EQ(base::read_file(folder / "out"), "as it is");
}

TEST(ZipReader, ASingleChangedOrMissingByteNeverGivesOtherContent) {
  const std::string archive = archive_of({{"a", "some text, some text"}, {"b", "plain", false}});
  const auto read_all = [](const std::string& bytes) {
    const ZipReader reader(bytes_of(bytes), "test.zip");
    std::string all;
    for (const ZipEntry& entry : reader.entries()) {
      reader.extract(entry, [&](std::string_view piece) { all += piece; });
    }
    return all;
  };
  const std::string expected = read_all(archive);
  for (size_t at = 0; at < archive.size(); ++at) {
    EXPECT_NE(error_of([&] { read_all(archive.substr(0, at)); }), "") << "cut at " << at;
    std::string changed = archive;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    // Dates, versions and names are not content; whatever else is changed is seen.
    std::string got;
    const std::string error = error_of([&] { got = read_all(changed); });
    // A changed number of entries may leave fewer of them.
    EXPECT_TRUE(!error.empty() || expected.starts_with(got)) << "changed at " << at;
  }
}

TEST(ZipReader, RefusesOtherForms) {
  EXPECT_THAT(error_of([] { ZipReader({}, "x"); }), HasSubstr("is no zip archive"));
  std::string archive = archive_of({{"a", "text"}});
  const size_t directory = archive.rfind("PK\x01\x02");
  std::string encrypted = archive;
  encrypted[directory + 8] = 1;
  EXPECT_THAT(error_of([&] { ZipReader(bytes_of(encrypted), "x"); }), HasSubstr("encrypted"));
  std::string other = archive;
  other[directory + 10] = 12;
  const ZipReader reader(bytes_of(other), "x");
  EXPECT_THAT(error_of([&] { extracted(reader, "a"); }), HasSubstr("method 12"));
}

}  // namespace
}  // namespace fledge::train
