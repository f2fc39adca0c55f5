#include "train/data/documents.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void write_gzip(const std::filesystem::path& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  gzclose(file);
}

std::vector<DocumentPiece> pieces_of(const std::filesystem::path& path, const DocumentOptions& options) {
  std::vector<DocumentPiece> pieces;
  DocumentPiece piece;
  const auto reader = open_documents(path, options);
  while (reader->next(piece)) pieces.push_back(piece);
  return pieces;
}

/// The documents of a file, with the pieces joined and their flags checked.
std::vector<std::string> documents_of(const std::filesystem::path& path, const DocumentOptions& options = {}) {
  std::vector<std::string> documents;
  bool inside = false;
  for (const DocumentPiece& piece : pieces_of(path, options)) {
    EXPECT_EQ(piece.begins_document, !inside);
    if (piece.begins_document) documents.emplace_back();
    documents.back() += piece.text;
    inside = !piece.ends_document;
  }
  EXPECT_FALSE(inside);
  return documents;
}

TEST(Documents, ATextFileIsOneDocument) {
  const TemporaryFolder folder;
  const std::string text("\xef\xbb\xbfOne.\r\n\n\xff\0Two.\n", 17);
  base::write_file(folder / "a.txt", text);
  EXPECT_THAT(documents_of(folder / "a.txt"), ElementsAre(text.substr(3)));
  base::write_file(folder / "empty.txt", "");
  EXPECT_THAT(documents_of(folder / "empty.txt"), ElementsAre());
}

TEST(Documents, TheSeparatorAndTheNewlinesBesideItGo) {
  const TemporaryFolder folder;
  base::write_file(folder / "a.txt",
                   "one\n<|endoftext|>\n\ntwo<|endoftext|>three\n\n<|endoftext|><|endoftext|>\n<|endoftext|>\nfour\n");
  EXPECT_THAT(documents_of(folder / "a.txt"), ElementsAre("one", "\ntwo", "three\n", "four\n"));
  DocumentOptions options;
  options.separator = "";
  EXPECT_THAT(documents_of(folder / "a.txt", options), ElementsAre(base::read_file(folder / "a.txt")));
  options.separator = "e";
  EXPECT_THAT(documents_of(folder / "a.txt", options).front(), "on");
}

TEST(Documents, JsonLines) {
  const TemporaryFolder folder;
  base::write_file(folder / "a.jsonl",
                   "{\"text\": \"one\\n\", \"n\": 1}\r\n\n  \n{\"text\": \"\"}\n{\"text\": \"<|endoftext|> \\u00e9\"}");
  EXPECT_THAT(documents_of(folder / "a.jsonl"), ElementsAre("one\n", "<|endoftext|> \xc3\xa9"));
  write_gzip(folder / "b.jsonl.gz", base::read_file(folder / "a.jsonl"));
  EXPECT_EQ(documents_of(folder / "b.jsonl.gz"), documents_of(folder / "a.jsonl"));
  DocumentOptions options;
  options.text_key = "body";
  EXPECT_THAT(error_of([&] { documents_of(folder / "a.jsonl", options); }),
              HasSubstr("a.jsonl, line 1: the key \"body\" is missing"));
}

TEST(Documents, BadInputIsNamed) {
  const TemporaryFolder folder;
  const auto error_with = [&](const std::string& name, const std::string& content) {
    base::write_file(folder / name, content);
    return error_of([&] { documents_of(folder / name); });
  };
  EXPECT_THAT(error_with("a.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"\n"),
              HasSubstr("a.jsonl, line 3: not valid"));
  EXPECT_THAT(error_with("a.jsonl", "{\"text\": 3}\n"), HasSubstr("line 1: the key \"text\" holds 3"));
  EXPECT_THAT(error_with("a.jsonl", "[1]\n"), HasSubstr("line 1: the key \"text\" is missing"));
  EXPECT_THAT(error_of([&] { documents_of(folder / "none.txt"); }), HasSubstr("there is no such file"));
  EXPECT_THAT(error_of([&] { documents_of(folder.path()); }), HasSubstr("a plain file was expected"));
  std::string text;
  for (int line = 0; line < 100000; ++line) text += std::to_string(line * 7919) + "\n";
  write_gzip(folder / "a.txt.gz", text);
  EXPECT_THAT(documents_of(folder / "a.txt.gz"), ElementsAre(text));
  const std::string packed = base::read_file(folder / "a.txt.gz");
  EXPECT_THAT(error_with("cut.txt.gz", packed.substr(0, packed.size() / 2)), HasSubstr("cut.txt.gz: cannot be read"));
}

TEST(Documents, LongDocumentsComeInPiecesCutAtSafePlaces) {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 400; ++line) {
    text += "line " + std::to_string(line * line);
    text += line % 3 == 0 ? "\n\n" : line % 3 == 1 ? " \n" : "\n";
  }
  DocumentOptions options;
  options.piece_bytes = 200;
  base::write_file(folder / "a.txt", text + "\n<|endoftext|>" + text);
  base::write_file(folder / "a.jsonl", base::Json{{"text", text}}.dump() + "\n" + base::Json{{"text", text}}.dump());
  EXPECT_THAT(documents_of(folder / "a.txt", options), ElementsAre(text, text));
  const auto pieces = pieces_of(folder / "a.txt", options);
  const auto lines = pieces_of(folder / "a.jsonl", options);
  ASSERT_EQ(pieces.size(), lines.size());
  ASSERT_GT(pieces.size(), 10u);
  for (size_t index = 0; index < pieces.size(); ++index) {
    const std::string& piece = pieces[index].text;
    EXPECT_LE(piece.size(), 400u);
    EXPECT_EQ(piece, lines[index].text);
    if (pieces[index].ends_document) continue;
    EXPECT_GE(piece.size(), 200u);
    EXPECT_EQ(piece.back(), '\n');
    EXPECT_FALSE(std::isspace(piece[piece.size() - 2]));
    EXPECT_FALSE(std::isspace(pieces[index + 1].text.front()));
  }
}

TEST(Documents, SeparatorsAreFoundWhereverTheyFall) {
  const TemporaryFolder folder;
  DocumentOptions options;
  options.piece_bytes = 16;
  for (size_t length = 1; length < 120; length += 3) {
    const std::string first(length, 'a'), second(150 - length, 'b');
    base::write_file(folder / "a.txt", first + "\n<|endoftext|>\n" + second);
    EXPECT_THAT(documents_of(folder / "a.txt", options), ElementsAre(first, second)) << length;
  }
}

TEST(PieceEnd, IsSafeOrElseTheBestThereIs) {
  const auto end = [](const std::string& text) { return text.substr(0, piece_end(text, 8)); };
  EXPECT_EQ(end("12345678ab\ncd and more"), "12345678ab\n");
  EXPECT_EQ(end("1234\n678ab\ncd and more"), "1234\n678ab\n");
  EXPECT_EQ(end("12345678 \nb\ncd and more"), "12345678 \nb\n");
  EXPECT_EQ(end("12345678\n\nb\ncd and more"), "12345678\n\nb\n");
  EXPECT_EQ(end("12345678.\n/*c\nd and more"), "12345678.\n/*c\n");
  // White space outside ASCII: U+3000 before the newline, U+00A0 behind it.
  EXPECT_EQ(end("12345\xe3\x80\x80\nbc\nd and more"), "12345\xe3\x80\x80\nbc\n");
  EXPECT_EQ(end("1234567\n\xc2\xa0x\nd and more"), "1234567\n\xc2\xa0x\n");
  EXPECT_EQ(end("1234567\xc3\xa9\n\xc3\xa9x\nd and more"), "1234567\xc3\xa9\n");
  // No safe place among 16 bytes: behind the last newline, or before a character.
  EXPECT_EQ(end("1234567890 \n cd and more"), "1234567890 \n");
  EXPECT_EQ(end("1234567890 12345678"), "1234567890 12345");
  EXPECT_EQ(end("12345678901234\xe3\x80\x80 and more"), "12345678901234");
  EXPECT_EQ(end(std::string(20, '\x80')), std::string(16, '\x80'));
}

}  // namespace
}  // namespace fledge::train
