#include "train/data/table.h"

#include <gmock/gmock.h>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

std::string shown(std::string_view text, TableFormat format, const std::vector<std::string>& columns) {
  std::string result;
  const Table table = parse_table(text, format, columns, "file");
  for (const Table::Row& row : table.rows) {
    result += std::to_string(row.line) + ":";
    for (const Cell& cell : row.cells) {
      result += "<" + cell.text;
      for (const std::string& item : cell.list) result += "[" + item + "]";
      result += ">";
    }
    result += "\n";
  }
  return result;
}

TEST(Table, ReadsCsvWithQuotesAndLineBreaks) {
  const std::string text =
      "\xEF\xBB\xBFid,text,label\r\n"
      "1,plain,a\r\n"
      "\r\n"
      "2,\"a \"\"quote\"\", a comma\nand a line\",b\n"
      "3,,\"\"\n"
      "4, \xC3\xA9 \xE4\xB8\xAD ,d";
  EXPECT_EQ(shown(text, TableFormat::csv, {"text", "label"}),
            "2:<plain><a>\n4:<a \"quote\", a comma\nand a line><b>\n6:<><>\n7:< \xC3\xA9 \xE4\xB8\xAD ><d>\n");
  EXPECT_EQ(shown(text, TableFormat::csv, {"label"}), "2:<a>\n4:<b>\n6:<>\n7:<d>\n");
}

TEST(Table, ReadsTsvAsItIs) {
  EXPECT_EQ(shown("text\tlabel\n\"a\", b\t1\n\t\n\nc\t2\r\n", TableFormat::tsv, {"label", "text"}),
            "2:<1><\"a\", b>\n3:<><>\n5:<2><c>\n");
}

TEST(Table, ReadsJsonLines) {
  EXPECT_EQ(shown("{\"text\": \"a\\nb\", \"label\": 3, \"other\": null}\n\n"
                  "{\"label\": true, \"text\": [\"x\", 2, 0.5]}",
                  TableFormat::jsonl, {"text", "label"}),
            "1:<a\nb><3>\n3:<[x][2][0.5]><true>\n");
}

TEST(Table, RefusesWhatIsNotWhatItShouldBe) {
  const auto error = [](std::string_view text, TableFormat format = TableFormat::csv) {
    return error_of([&] { parse_table(text, format, {"text"}, "file"); });
  };
  EXPECT_THAT(error(""), HasSubstr("file: the file is empty"));
  EXPECT_THAT(error("\n\n"), HasSubstr("file: the file is empty"));
  EXPECT_THAT(error("txet,label\n"), HasSubstr("no column \"text\" (did you mean \"txet\"?)"));
  EXPECT_THAT(error("text,text\n"), HasSubstr("two columns"));
  EXPECT_THAT(error("text,b\n1\n"), HasSubstr("file, line 2: it has 1 values, and the first line names 2 columns"));
  EXPECT_THAT(error("text,b\n1,2,3\n"), HasSubstr("it has 3 values"));
  EXPECT_THAT(error("text,b\n\"1,2\n3"), HasSubstr("file, line 2: a quoted value has no end"));
  EXPECT_THAT(error("text,b\n\"1\"x,2\n"), HasSubstr("behind the end of a quoted value"));
  EXPECT_THAT(error("text,b\n1\"x,2\n"), HasSubstr("line 2: a quote inside a value"));
  EXPECT_THAT(error("text\n\xFF\n"), HasSubstr("line 2: there is text that is not UTF-8"));
  EXPECT_THAT(error(std::string_view("text\na\0b\n", 9)), HasSubstr("null character"));
  EXPECT_THAT(error(std::string(9000, ',')), HasSubstr("more than 4096 values"));
  EXPECT_THAT(error("[1]", TableFormat::jsonl), HasSubstr("file, line 1: a JSON object was expected"));
  EXPECT_THAT(error("{\"text\": {}}", TableFormat::jsonl), HasSubstr("\"text\" is an object"));
  EXPECT_THAT(error("{\"text\": [[]]}", TableFormat::jsonl), HasSubstr("a list of lists"));
  EXPECT_THAT(error("{\"a\": 1}", TableFormat::jsonl), HasSubstr("line 1: there is no column \"text\""));
  EXPECT_THAT(error("{\"a\"", TableFormat::jsonl), HasSubstr("line 1"));
  EXPECT_THAT(error_of([] { table_format("a.xlsx"); }), HasSubstr(".csv"));
}

}  // namespace
}  // namespace fledge::train
