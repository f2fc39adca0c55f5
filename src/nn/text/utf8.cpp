#include "nn/text/utf8.h"

#include <algorithm>
#include <cstring>

namespace fledge::nn {
namespace {

bool is_continuation(uint8_t byte) {
  return (byte & 0xC0) == 0x80;
}

/// Length that the first byte announces, or 0 where no character begins with it.
size_t announced_length(uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

/// Whether `second` may follow `first` (Unicode standard, table 3-7).
bool second_byte_fits(uint8_t first, uint8_t second) {
  if (!is_continuation(second)) return false;
  if (first == 0xE0) return second >= 0xA0;
  if (first == 0xED) return second < 0xA0;
  if (first == 0xF0) return second >= 0x90;
  if (first == 0xF4) return second < 0x90;
  return true;
}

/// Number of bytes at `position` that fit the beginning of one character, and the length that it announces.
struct Fit {
  size_t fitting;
  size_t announced;
};

Fit fit_character(std::string_view text, size_t position) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data()) + position;
  const size_t left = text.size() - position;
  const size_t announced = announced_length(bytes[0]);
  if (announced == 0) return {0, 0};
  size_t fitting = 1;
  if (announced > 1 && left > 1 && second_byte_fits(bytes[0], bytes[1])) {
    fitting = 2;
    while (fitting < std::min(announced, left) && is_continuation(bytes[fitting])) ++fitting;
  }
  return {fitting, announced};
}

}  // namespace

size_t utf8_length(std::string_view text, size_t position) {
  if (position >= text.size()) return 0;
  const Fit fit = fit_character(text, position);
  return fit.fitting == fit.announced ? fit.announced : 0;
}

size_t valid_utf8_end(std::string_view text, size_t position) {
  const char* data = text.data();
  while (position < text.size()) {
    while (position + 8 <= text.size()) {
      uint64_t word;
      std::memcpy(&word, data + position, sizeof word);
      if ((word & 0x8080808080808080u) != 0) break;
      position += 8;
    }
    if (position == text.size()) break;
    const size_t length = utf8_length(text, position);
    if (length == 0) break;
    position += length;
  }
  return position;
}

size_t invalid_utf8_end(std::string_view text, size_t position) {
  while (position < text.size() && utf8_length(text, position) == 0) ++position;
  return position;
}

size_t unfinished_utf8_tail(std::string_view text) {
  for (size_t tail = std::min<size_t>(3, text.size()); tail > 0; --tail) {
    const Fit fit = fit_character(text, text.size() - tail);
    if (fit.fitting == tail && fit.announced > tail) return tail;
  }
  return 0;
}

std::string to_valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t end = valid_utf8_end(text, position);
    result += text.substr(position, end - position);
    if (end == text.size()) break;
    result += "\uFFFD";
    position = end + std::max<size_t>(1, fit_character(text, end).fitting);
  }
  return result;
}

void append_utf8(std::string& text, char32_t code_point) {
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += static_cast<char>(0xC0 | code_point >> 6);
    text += static_cast<char>(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    text += static_cast<char>(0xE0 | code_point >> 12);
    text += static_cast<char>(0x80 | (code_point >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code_point & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | code_point >> 18);
    text += static_cast<char>(0x80 | (code_point >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (code_point >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code_point & 0x3F));
  }
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

}  // namespace fledge::nn
