#include "train/data/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"
#include "base/toml.h"

namespace fledge::train {
namespace {

using base::Error;
using base::Json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr size_t kMostColumns = 4096;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

void require_text(std::string_view text, const std::string& origin, int64_t line) {
  if (text.find('\0') != text.npos || !base::is_valid_utf8(text))
    throw Error("{}, line {}: there is text that is not UTF-8, or a null character", origin, line);
}

/// Reads records of values that are separated by one character.
class SeparatedReader {
 public:
  SeparatedReader(std::string_view text, char separator, const std::string& origin)
      : text_(text), origin_(origin), separator_(separator), quotes_(separator == ',') {}

  /// The values of the next record that is not an empty line, or false at the end.
  bool next(std::vector<std::string>& values, int64_t& line) {
    while (at_ < text_.size()) {
      const size_t end = std::min(text_.find('\n', at_), text_.size());
      if (!is_blank_record(text_.substr(at_, end - at_))) break;
      at_ = end + 1;
      ++line_;
    }
    if (at_ >= text_.size()) return false;
    line = line_;
    values.clear();
    while (!read_value(values)) {
      if (values.size() > kMostColumns) throw Error("{}, line {}: more than {} values", origin_, line, kMostColumns);
    }
    return true;
  }

 private:
  /// In TSV a line of tabs is a row of empty values.
  bool is_blank_record(std::string_view line) const { return quotes_ ? is_blank(line) : line.empty() || line == "\r"; }

  /// Reads one value and what follows it. Returns whether it ends the record.
  bool read_value(std::vector<std::string>& values) {
    if (quotes_ && at_ < text_.size() && text_[at_] == '"') return read_quoted(values.emplace_back());
    size_t end = at_;
    while (end < text_.size() && text_[end] != separator_ && text_[end] != '\n') {
      if (quotes_ && text_[end] == '"')
        throw Error("{}, line {}: a quote inside a value that does not begin with one", origin_, line_);
      ++end;
    }
    std::string_view value = text_.substr(at_, end - at_);
    if ((end == text_.size() || text_[end] == '\n') && value.ends_with('\r')) value.remove_suffix(1);
    values.emplace_back(value);
    require_text(value, origin_, line_);
    at_ = end;
    return finish_value();
  }

  bool read_quoted(std::string& value) {
    const int64_t first_line = line_;
    for (++at_;; ++at_) {
      if (at_ >= text_.size()) throw Error("{}, line {}: a quoted value has no end", origin_, first_line);
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        value += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        value += '"';
        ++at_;
      } else {
        break;
      }
    }
    require_text(value, origin_, first_line);
    ++at_;
    if (text_.substr(at_).starts_with("\r\n") || text_.substr(at_) == "\r") ++at_;
    if (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n')
      throw Error("{}, line {}: there is text behind the end of a quoted value", origin_, line_);
    return finish_value();
  }

  bool finish_value() {
    const bool ends_record = at_ >= text_.size() || text_[at_] == '\n';
    if (ends_record) ++line_;
    ++at_;
    return ends_record;
  }

  std::string_view text_;
  const std::string& origin_;
  char separator_;
  bool quotes_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

[[noreturn]] void missing_column(const std::string& origin, const std::string& column,
                                 const std::vector<std::string>& present) {
  const std::string near = base::nearest(column, present);
  throw Error("{}: there is no column \"{}\"{}; the columns are {}", origin, base::printable(column),
              near.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", base::printable(near)),
              base::printable(fmt::format("{}", fmt::join(present, ", "))));
}

void read_separated(std::string_view text, char separator, Table& table) {
  SeparatedReader reader(text, separator, table.origin);
  std::vector<std::string> header, values;
  int64_t line = 0;
  if (!reader.next(header, line)) throw Error("{}: the file is empty", table.origin);
  std::vector<size_t> places;
  for (const std::string& column : table.columns) {
    const auto found = std::ranges::find(header, column);
    if (found == header.end()) missing_column(table.origin, column, header);
    if (std::ranges::count(header, column) > 1)
      throw Error("{}: there are two columns \"{}\"", table.origin, base::printable(column));
    places.push_back(static_cast<size_t>(found - header.begin()));
  }
  while (reader.next(values, line)) {
    if (values.size() != header.size())
      throw Error("{}, line {}: it has {} values, and the first line names {} columns", table.origin, line,
                  values.size(), header.size());
    Table::Row row{line, {}};
    for (const size_t place : places) row.cells.push_back({std::move(values[place]), {}, false});
    table.rows.push_back(std::move(row));
  }
}

std::string scalar_text(const Json& value, const std::string& column, const std::string& place) {
  if (value.is_string()) {
    auto text = value.get<std::string>();
    if (text.find('\0') != text.npos) throw Error("{}: \"{}\" holds a null character", place, column);
    return text;
  }
  if (value.is_number() || value.is_boolean()) return value.dump();
  throw Error("{}: \"{}\" is {}, but a text, a number or a list of these was expected", place, column,
              value.is_null()     ? "null"
              : value.is_object() ? "an object"
                                  : "a list of lists");
}

Cell cell_of(const Json& value, const std::string& column, const std::string& place) {
  if (!value.is_array()) return {scalar_text(value, column, place), {}, false};
  Cell cell;
  cell.is_list = true;
  for (const Json& item : value) cell.list.push_back(scalar_text(item, column, place));
  return cell;
}

void read_json_lines(std::string_view text, Table& table) {
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view content = text.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (is_blank(content)) continue;
    const std::string place = fmt::format("{}, line {}", table.origin, line);
    const Json json = base::parse_json(content, place);
    if (!json.is_object()) throw Error("{}: a JSON object was expected", place);
    Table::Row row{line, {}};
    for (const std::string& column : table.columns) {
      const auto found = json.find(column);
      if (found == json.end()) {
        std::vector<std::string> present;
        for (const auto& [key, value] : json.items()) present.push_back(key);
        missing_column(place, column, present);
      }
      row.cells.push_back(cell_of(*found, column, place));
    }
    table.rows.push_back(std::move(row));
  }
}

}  // namespace

std::string Table::place(const Row& row) const {
  return fmt::format("{}, line {}", origin, row.line);
}

TableFormat table_format(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".csv") return TableFormat::csv;
  if (ending == ".tsv" || ending == ".tab") return TableFormat::tsv;
  if (ending == ".jsonl" || ending == ".ndjson") return TableFormat::jsonl;
  throw base::UsageError("{}: a table of examples is a .csv, .tsv or .jsonl file", path.string());
}

Table parse_table(std::string_view text, TableFormat format, const std::vector<std::string>& columns,
                  const std::string& origin) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  Table table{origin, columns, {}};
  if (format == TableFormat::jsonl) {
    read_json_lines(text, table);
  } else {
    read_separated(text, format == TableFormat::csv ? ',' : '\t', table);
  }
  return table;
}

Table read_table(const std::filesystem::path& path, const std::vector<std::string>& columns) {
  const TableFormat format = table_format(path);
  const base::MappedFile file(path);
  return parse_table(file.text(), format, columns, path.string());
}

}  // namespace fledge::train
