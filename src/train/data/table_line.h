#pragma once

#include <string>
#include <vector>

#include "train/data/table.h"

namespace fledge::train {

/// The first line of a table with these columns, with its line break; of JSONL nothing.
std::string table_header(TableFormat format, const std::vector<std::string>& columns);

/// One row as read_table() reads it, with its line break: in CSV quoted where need be, in TSV with a space for each tab
/// and line break, in JSONL an object.
std::string table_line(TableFormat format, const std::vector<std::string>& columns,
                       const std::vector<std::string>& values);

}  // namespace fledge::train
