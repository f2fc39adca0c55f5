#include "cli/ids.h"

#include <charconv>

#include "base/error.h"

namespace fledge::cli {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<int32_t> parse_ids(std::string_view text, std::string_view flag) {
  std::vector<int32_t> ids;
  if (trimmed(text).empty()) return ids;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view word = trimmed(text.substr(0, comma));
    int32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc{} || end != word.data() + word.size() || word.empty())
      throw base::UsageError("{}: \"{}\" is not a token id; expected numbers such as 1,2,3", flag, word);
    ids.push_back(id);
    if (comma == std::string_view::npos) return ids;
    text.remove_prefix(comma + 1);
  }
}

std::vector<std::vector<int32_t>> parse_id_rows(std::string_view text, std::string_view flag) {
  std::vector<std::vector<int32_t>> rows;
  for (;;) {
    const size_t semicolon = text.find(';');
    rows.push_back(parse_ids(text.substr(0, semicolon), flag));
    if (semicolon == std::string_view::npos) return rows;
    text.remove_prefix(semicolon + 1);
  }
}

}  // namespace fledge::cli
