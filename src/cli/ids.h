#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::cli {

/// "1,2,3;4,5,6" -> two rows. Spaces around numbers are allowed. Throws UsageError naming `flag` for anything else.
std::vector<std::vector<int32_t>> parse_id_rows(std::string_view text, std::string_view flag);

/// "1,2,3" -> one row, which may be empty. Throws UsageError naming `flag`.
std::vector<int32_t> parse_ids(std::string_view text, std::string_view flag);

}  // namespace fledge::cli
