#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::train {

/// One value of a table: text, or a list of texts (JSONL alone).
struct Cell {
  std::string text;
  std::vector<std::string> list;
  bool is_list = false;
};

/// Some columns of a file of examples.
struct Table {
  std::string origin;  ///< names the file in errors
  std::vector<std::string> columns;
  struct Row {
    int64_t line;  ///< where it begins in the file, from 1
    std::vector<Cell> cells;
  };
  std::vector<Row> rows;

  /// "FILE, line N".
  std::string place(const Row& row) const;
};

enum class TableFormat : uint8_t { csv, tsv, jsonl };

/// By the ending of the name: .csv, .tsv or .tab, .jsonl or .ndjson. Throws UsageError for another.
TableFormat table_format(const std::filesystem::path& path);

/// Reads the wanted columns of a file. Throws Error, naming the file and the line, where it is not what it should be.
///   CSV (RFC 4180): the first line names the columns; values that hold a comma, a quote or a line break stand in
///   double quotes, a quote within as two. A quote elsewhere is an error, and so is a line with more or fewer values
///   than the first. TSV: the same with tabs and without quotes; a value holds neither tabs nor line breaks. JSONL: an
///   object on each line. Values are strings, numbers (written as JSON writes them), true and false, or lists of these.
/// Empty lines are passed over, a byte order mark too. Text must be UTF-8 without null characters.
Table read_table(const std::filesystem::path& path, const std::vector<std::string>& columns);

/// The same from text. `origin` names it in errors.
Table parse_table(std::string_view text, TableFormat format, const std::vector<std::string>& columns,
                  const std::string& origin);

}  // namespace fledge::train
