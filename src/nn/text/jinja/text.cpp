#include "nn/text/jinja/text.h"

#include <charconv>
#include <clocale>
#include <cmath>
#include <cstring>
#include <cwctype>

#include <fmt/format.h>

#include "nn/text/character_class.h"
#include "nn/text/utf8.h"

namespace fledge::nn::jinja {
namespace {

/// Case mapping of the C library's built-in UTF-8 locale, whatever the user's locale is.
locale_t unicode_locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

char32_t mapped(char32_t point, wint_t (*map)(wint_t, locale_t), bool to_upper) {
  if (point < 0x80) {
    if (to_upper) return point >= 'a' && point <= 'z' ? point - 32 : point;
    return point >= 'A' && point <= 'Z' ? point + 32 : point;
  }
  return unicode_locale() == nullptr ? point : static_cast<char32_t>(map(static_cast<wint_t>(point), unicode_locale()));
}

template <typename Visit>
void each_point(std::string_view text, const Visit& visit) {
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    const char32_t point = decode_utf8(text.data() + at, length);
    visit(point, at);
    at += length;
  }
}

void append_upper(std::string& result, char32_t point) {
  if (point == 0xDF) {
    result += "SS";
  } else {
    append_utf8(result, upper_of(point));
  }
}

bool in_set(char32_t point, const std::string* characters) {
  if (characters == nullptr) return is_space(point);
  std::string one;
  append_utf8(one, point);
  return characters->find(one) != std::string::npos;
}

bool is_line_end(char32_t point) {
  return (point >= 0x0A && point <= 0x0D) || (point >= 0x1C && point <= 0x1E) || point == 0x85 || point == 0x2028 ||
         point == 0x2029;
}

/// Characters that repr() writes as they are: not control, format, private or space characters.
bool is_shown(char32_t point) {
  if (point < 0x20 || (point >= 0x7F && point <= 0xA0) || point == 0xAD) return false;
  if (point > 0x7F && is_space(point)) return false;
  if ((point >= 0x200B && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E)) return false;
  if ((point >= 0x2060 && point <= 0x206F) || point == 0xFEFF || (point >= 0xFFF0 && point <= 0xFFFB)) return false;
  if ((point & 0xFFFE) == 0xFFFE || (point >= 0xE000 && point <= 0xF8FF)) return false;
  return point < 0xE0000;
}

}  // namespace

std::string valid_text(std::string_view text) {
  if (valid_utf8_end(text, 0) == text.size()) return std::string(text);
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t end = valid_utf8_end(text, at);
    result += text.substr(at, end - at);
    at = end;
    if (at == text.size()) break;
    result += "\xEF\xBF\xBD";
    at = invalid_utf8_end(text, at);
  }
  return result;
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> points;
  points.reserve(text.size());
  each_point(text, [&](char32_t point, size_t) { points.push_back(point); });
  return points;
}

std::string from_code_points(const std::vector<char32_t>& points) {
  std::string text;
  for (const char32_t point : points) append_utf8(text, point);
  return text;
}

size_t text_length(std::string_view text) {
  size_t length = 0;
  for (const char byte : text) length += (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  return length;
}

bool is_space(char32_t point) {
  if (point < 0x80) return (point >= 9 && point <= 13) || (point >= 28 && point <= 32);
  return point == 0x85 || point == 0xA0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 ||
         point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
}

std::string_view strip(std::string_view text, bool left, bool right, const std::string* characters) {
  while (left && !text.empty()) {
    size_t length = 1;
    if (!in_set(decode_utf8(text.data(), length), characters)) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    size_t length = 1;
    if (!in_set(decode_utf8(text.data() + at, length), characters)) break;
    text = text.substr(0, at);
  }
  return text;
}

char32_t upper_of(char32_t point) {
  return mapped(point, towupper_l, true);
}

char32_t lower_of(char32_t point) {
  return mapped(point, towlower_l, false);
}

std::string upper(std::string_view text) {
  std::string result;
  each_point(text, [&](char32_t point, size_t) { append_upper(result, point); });
  return result;
}

std::string lower(std::string_view text) {
  std::string result;
  each_point(text, [&](char32_t point, size_t) { append_utf8(result, lower_of(point)); });
  return result;
}

std::string capitalized(std::string_view text) {
  std::string result;
  each_point(text, [&](char32_t point, size_t at) {
    at == 0 ? append_upper(result, point) : append_utf8(result, lower_of(point));
  });
  return result;
}

std::string titled(std::string_view text) {
  std::string result;
  bool after_letter = false;
  each_point(text, [&](char32_t point, size_t) {
    after_letter ? append_utf8(result, lower_of(point)) : append_upper(result, point);
    after_letter = is_letter(point);
  });
  return result;
}

bool is_letter(char32_t point) {
  return character_classes()[point] == CharacterClass::kLetter;
}

bool is_digit(char32_t point) {
  return point < 0x80 ? point >= '0' && point <= '9' : character_classes()[point] == CharacterClass::kNumber;
}

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t count_text(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = 0; (at = find_text(text, part, at)) != std::string_view::npos; at += part.size()) ++count;
  return count;
}

std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t limit) {
  std::vector<std::string> pieces;
  const auto full = [&] { return limit >= 0 && static_cast<int64_t>(pieces.size()) >= limit; };
  if (!separator.empty()) {
    size_t begin = 0;
    while (!full()) {
      const size_t end = find_text(text, separator, begin);
      if (end == std::string_view::npos) break;
      pieces.emplace_back(text.substr(begin, end - begin));
      begin = end + separator.size();
    }
    pieces.emplace_back(text.substr(begin));
    return pieces;
  }
  text = strip(text, true, false);
  while (!text.empty()) {
    if (full()) {
      pieces.emplace_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      size_t length = 1;
      if (is_space(decode_utf8(text.data() + end, length))) break;
      end += length;
    }
    pieces.emplace_back(text.substr(0, end));
    text = strip(text.substr(end), true, false);
  }
  return pieces;
}

std::vector<std::string> split_right(std::string_view text, std::string_view separator, int64_t limit) {
  if (limit < 0) return split(text, separator, -1);
  // Cut everything, then join again what is more than the limit.
  if (separator.empty()) {
    std::vector<std::string> pieces;
    text = strip(text, false, true);
    while (!text.empty() && static_cast<int64_t>(pieces.size()) < limit) {
      size_t begin = text.size();
      while (begin > 0) {
        size_t at = begin - 1;
        while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
        size_t length = 1;
        if (is_space(decode_utf8(text.data() + at, length))) break;
        begin = at;
      }
      pieces.emplace_back(text.substr(begin));
      text = strip(text.substr(0, begin), false, true);
    }
    if (!strip(text, true, true).empty()) pieces.emplace_back(text);
    return {pieces.rbegin(), pieces.rend()};
  }
  std::vector<std::string> pieces;
  while (static_cast<int64_t>(pieces.size()) < limit) {
    const size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    pieces.emplace_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  pieces.emplace_back(text);
  return {pieces.rbegin(), pieces.rend()};
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    const char32_t point = decode_utf8(text.data() + at, length);
    if (!is_line_end(point)) {
      at += length;
      continue;
    }
    size_t end = at + length;
    if (point == '\r' && end < text.size() && text[end] == '\n') ++end;
    lines.emplace_back(text.substr(begin, (keep_ends ? end : at) - begin));
    begin = at = end;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t mark = text.find('e');
  std::string digits;
  for (const char c : text.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  int exponent = 0;
  const std::string_view power = text.substr(mark + (text[mark + 1] == '+' ? 2 : 1));
  std::from_chars(power.data(), power.data() + power.size(), exponent);
  const std::string sign = text[0] == '-' ? "-" : "";
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    return sign + digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "") +
           fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) return sign + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return sign + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string quoted_text(std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos || text.find('"') != std::string_view::npos;
  const char quote = single ? '\'' : '"';
  std::string result(1, quote);
  each_point(text, [&](char32_t point, size_t) {
    if (point == '\\' || point == static_cast<char32_t>(quote)) {
      result += '\\';
      result += static_cast<char>(point);
    } else if (point == '\n') {
      result += "\\n";
    } else if (point == '\r') {
      result += "\\r";
    } else if (point == '\t') {
      result += "\\t";
    } else if (is_shown(point)) {
      append_utf8(result, point);
    } else {
      const auto code = static_cast<uint32_t>(point);
      result += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    }
  });
  return result + quote;
}

}  // namespace fledge::nn::jinja
