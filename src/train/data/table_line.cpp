#include "train/data/table_line.h"

#include <algorithm>

#include "base/json.h"

namespace fledge::train {
namespace {

std::string csv_value(const std::string& value) {
  if (value.find_first_of(",\"\r\n") == value.npos) return value;
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string tsv_value(std::string value) {
  std::ranges::replace_if(
      value, [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
  return value;
}

std::string separated_line(TableFormat format, const std::vector<std::string>& values) {
  std::string line;
  for (const std::string& value : values) {
    if (&value != &values.front()) line += format == TableFormat::csv ? ',' : '\t';
    line += format == TableFormat::csv ? csv_value(value) : tsv_value(value);
  }
  return line + '\n';
}

}  // namespace

std::string table_header(TableFormat format, const std::vector<std::string>& columns) {
  return format == TableFormat::jsonl ? "" : separated_line(format, columns);
}

std::string table_line(TableFormat format, const std::vector<std::string>& columns,
                       const std::vector<std::string>& values) {
  if (format != TableFormat::jsonl) return separated_line(format, values);
  base::OrderedJson object;
  for (size_t place = 0; place < columns.size(); ++place) object[columns[place]] = values[place];
  return object.dump() + '\n';
}

}  // namespace fledge::train
