#include "base/text.h"

#include <algorithm>
#include <cctype>

namespace fledge::base {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

int64_t count_words(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (const char character : text) {
    const bool is_space = std::isspace(static_cast<unsigned char>(character)) != 0;
    words += !is_space && !inside;
    inside = !is_space;
  }
  return words;
}

std::string escaped_markup(std::string_view text) {
  std::string result;
  for (const char character : text) {
    if (character == '&') {
      result += "&amp;";
    } else if (character == '<') {
      result += "&lt;";
    } else if (character == '>') {
      result += "&gt;";
    } else if (character == '"') {
      result += "&quot;";
    } else {
      result += character;
    }
  }
  return result;
}

}  // namespace fledge::base
