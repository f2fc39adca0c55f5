#include "base/json.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace fledge::base {
namespace {

constexpr int kMaximumDepth = 512;

void check_depth(std::string_view text, std::string_view origin) {
  int depth = 0;
  bool in_string = false;
  for (size_t position = 0; position < text.size(); ++position) {
    const char c = text[position];
    if (in_string) {
      if (c == '\\') {
        ++position;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaximumDepth) throw Error("{}: JSON nested deeper than {} levels", origin, kMaximumDepth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

template <typename Type>
Type parse(std::string_view text, std::string_view origin) {
  check_depth(text, origin);
  try {
    return Type::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    throw Error("{}: not valid JSON at byte {}", origin, error.byte);
  } catch (const nlohmann::json::exception& error) {
    throw Error("{}: not valid JSON ({})", origin, error.what());
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view origin) {
  return parse<Json>(text, origin);
}

OrderedJson parse_ordered_json(std::string_view text, std::string_view origin) {
  return parse<OrderedJson>(text, origin);
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t column = 0; column <= b.size(); ++column) row[column] = column;
  for (size_t line = 1; line <= a.size(); ++line) {
    size_t diagonal = row[0];
    row[0] = line;
    for (size_t column = 1; column <= b.size(); ++column) {
      const size_t above = row[column];
      const size_t change = diagonal + (a[line - 1] == b[column - 1] ? 0 : 1);
      row[column] = std::min({above + 1, row[column - 1] + 1, change});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace fledge::base
