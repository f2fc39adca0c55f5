#include "train/data/rdb_reader.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "train/data/convert_corpus.h"
#include "train/data/test_support.h"
#include "train/data/text_encoding.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string word(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}
std::string characters(const std::string& text, uint32_t flags = 0x40009) {
  return word(flags) + word(static_cast<uint32_t>(text.size())) + text;
}
std::string strings(const std::vector<std::string>& texts) {
  std::string bytes = word(16) + word(static_cast<uint32_t>(texts.size()));
  for (const auto& text : texts) bytes += characters(text);
  return bytes;
}
std::string symbol(const std::string& name) {
  return word(1) + characters(name);
}
std::string version_3(const std::string& value) {
  return "X\n" + word(3) + word(0x40201) + word(0x30500) + word(5) + "UTF-8" + value;
}
std::string deflate(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  return packed.substr(0, size);
}

/// A list with names, as R keeps it: the names are an attribute.
std::string named_list(const std::vector<std::string>& names, const std::string& elements) {
  return word(0x200 | 19) + word(static_cast<uint32_t>(names.size())) + elements + word(0x402) + symbol("names") +
         strings(names) + word(254);
}

/// The lazy-load database of a package that holds these vectors.
void write_database(const std::filesystem::path& base_path,
                    const std::map<std::string, std::vector<std::string>>& data) {
  std::string chunks, places;
  std::vector<std::string> names;
  for (const auto& [name, texts] : data) {
    const std::string value = version_3(strings(texts));
    const std::string chunk = word(static_cast<uint32_t>(value.size())) + deflate(value);
    places +=
        word(13) + word(2) + word(static_cast<uint32_t>(chunks.size())) + word(static_cast<uint32_t>(chunk.size()));
    chunks += chunk;
    names.push_back(name);
  }
  const std::string index =
      version_3(named_list({"variables", "references", "compressed"},
                           named_list(names, places) + word(0x200 | 19) + word(0) + word(0x402) + word(1 << 8 | 255) +
                               strings({}) + word(254) + word(10) + word(1) + word(1)));
  auto path = base_path;
  base::write_file(path += ".rdx", deflate(index));
  path = base_path;
  base::write_file(path += ".rdb", chunks);
}

TEST(RValue, ReadsTextInItsEncodings) {
  const std::string texts =
      word(16) + word(3) + characters("plain") + characters("caf\xe9", 0x4009) + characters("caf\xc3\xa9", 0x8009);
  for (const std::string& bytes : {version_3(texts), "X\n" + word(2) + word(0) + word(0) + texts})
    EXPECT_THAT(read_r_value(bytes, "x").strings, ElementsAre("plain", "caf\xc3\xa9", "caf\xc3\xa9"));
}

TEST(RValue, ReadsListsWithNames) {
  const std::string bytes =
      version_3(named_list({"a", "b"}, word(13) + word(2) + word(7) + word(0xffffffff) + word(254)));
  const RValue value = read_r_value(bytes, "x");
  EXPECT_THAT(value.names, ElementsAre("a", "b"));
  EXPECT_THAT(value.elements[0].integers, ElementsAre(7, -1));
  EXPECT_EQ(value.elements[1].kind, RValue::Kind::null);
}

TEST(RValue, RefusesEveryTruncationAndLie) {
  const std::string good = version_3(named_list({"a", "b"}, strings({"one", "two"}) + word(254)));
  const auto error_with = [](const std::string& bytes) { return error_of([&] { read_r_value(bytes, "x.rdb"); }); };
  ASSERT_EQ(error_with(good), "");
  for (size_t size = 0; size < good.size(); ++size) EXPECT_NE(error_with(good.substr(0, size)), "") << size;
  EXPECT_THAT(error_with(good + "!"), HasSubstr("goes on behind the value"));
  EXPECT_THAT(error_with(version_3(word(16) + word(0x7fffffff))), HasSubstr("names more items than it holds"));
  EXPECT_THAT(error_with(version_3(word(16) + word(1) + word(9) + word(0xffffffff))), HasSubstr("missing text"));
  EXPECT_THAT(error_with(version_3(word(16) + word(1) + word(9) + word(100) + "ab")), HasSubstr("more items"));
  EXPECT_THAT(error_with(version_3(word(14) + word(1) + word(0) + word(0))), HasSubstr("not text, numbers or a list"));
  EXPECT_THAT(error_with(version_3(named_list({"a"}, "") + "")), HasSubstr("x.rdb: the R data"));
  EXPECT_THAT(error_with(version_3(word(0x402) + word(9 << 8 | 255) + word(254) + word(254))),
              HasSubstr("refers to a name"));
  std::string deep;
  for (int level = 0; level < 100; ++level) deep += word(19) + word(1);
  EXPECT_THAT(error_with(version_3(deep + word(254))), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_with("A\n" + good.substr(2)), HasSubstr("XDR"));
}

TEST(RDatabase, ReadsVectorsByName) {
  const TemporaryFolder folder;
  write_database(folder / "Rdata", {{"emma", {"EMMA", "", "By"}}, {"persuasion", {"Persuasion"}}});
  const auto vectors = read_r_database(folder / "Rdata");
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_THAT(vectors.at("emma"), ElementsAre("EMMA", "", "By"));
  EXPECT_THAT(vectors.at("persuasion"), ElementsAre("Persuasion"));

  const std::string chunks = base::read_file(folder / "Rdata.rdb");
  base::write_file(folder / "Rdata.rdb", chunks.substr(0, chunks.size() - 1));
  EXPECT_THAT(error_of([&] { read_r_database(folder / "Rdata"); }), HasSubstr("persuasion: the index points outside"));
  std::string damaged = chunks;
  damaged[3] = static_cast<char>(damaged[3] - 1);
  base::write_file(folder / "Rdata.rdb", damaged);
  EXPECT_THAT(error_of([&] { read_r_database(folder / "Rdata"); }), HasSubstr("emma: it unpacks to more than"));
  damaged[3] = static_cast<char>(damaged[3] + 2);
  base::write_file(folder / "Rdata.rdb", damaged);
  EXPECT_THAT(error_of([&] { read_r_database(folder / "Rdata"); }), HasSubstr("damaged or cut short"));
}

TEST(ConvertAusten, OneTextAndOneNovelALine) {
  const TemporaryFolder folder;
  const auto data_folder = folder / "usr/lib/R/site-library/janeaustenr/data";
  base::create_folder(data_folder);
  std::map<std::string, std::vector<std::string>> novels;
  for (const char* name :
       {"emma", "mansfieldpark", "northangerabbey", "persuasion", "prideprejudice", "sensesensibility"})
    novels[name] = {name, "", "\"Yes\"", "", ""};
  write_database(data_folder / "Rdata", novels);
  convert_austen(folder.path(), folder.path());
  const std::string text = base::read_file(folder / "austen.txt");
  EXPECT_TRUE(text.starts_with("sensesensibility\n\n\"Yes\"\n\n\n\nprideprejudice\n")) << text;
  EXPECT_TRUE(text.ends_with("persuasion\n\n\"Yes\"\n"));
  const std::string lines = base::read_file(folder / "austen.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 6);
  EXPECT_EQ(base::parse_json(lines.substr(0, lines.find('\n')), "line"),
            (base::Json{{"title", "Sense and Sensibility"}, {"text", "sensesensibility\n\n\"Yes\"\n"}}));
  novels.erase("emma");
  write_database(data_folder / "Rdata", novels);
  EXPECT_THAT(error_of([&] { convert_austen(folder.path(), folder.path()); }), HasSubstr("holds no \"emma\""));
}

TEST(ConvertGcide, EntriesBeginAtHeadwords) {
  const std::string text =
      "\n\n00-database-info\n   Licence.\n\nA \\A\\ n.\n   First.\n   [1913 Webster]\n\n   2. More.\n\n[1913 "
      "Webster]\n\n"
      "-ed \\-ed\\\n   A suffix.\nnot \\indented\\\n\nB \\B\\\n   Second";
  EXPECT_THAT(dictionary_entries(text),
              ElementsAre("A \\A\\ n.\n   First.\n   [1913 Webster]\n\n   2. More.\n\n[1913 Webster]\n\n",
                          "-ed \\-ed\\\n   A suffix.\nnot \\indented\\\n\n", "B \\B\\\n   Second"));
  EXPECT_THAT(dictionary_entries(""), ElementsAre());
}

TEST(TextEncoding, RepairsOnlyWhatIsNotUtf8) {
  const std::string valid = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa6\xed\x9f\xbf\xf4\x8f\xbf\xbf";
  EXPECT_EQ(repair_utf8(valid), valid);
  EXPECT_EQ(repair_utf8("market\x92s fa\xe7"
                        "ade"),
            "market\xe2\x80\x99s fa\xc3\xa7"
            "ade");
  // An overlong form, a surrogate, a value above U+10FFFF and a character that is cut off are no UTF-8.
  for (const char* bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    std::string expected;
    for (const char* byte = bad; *byte; ++byte) expected += utf8_from_windows_1252(std::string(1, *byte));
    EXPECT_EQ(repair_utf8(bad), expected);
    EXPECT_EQ(repair_utf8(expected), expected);
  }
}

}  // namespace
}  // namespace fledge::train
