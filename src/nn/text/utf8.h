#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fledge::nn {

/// Bytes of the UTF-8 character that begins at text[position], or 0 where the bytes there are not a valid character
/// (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view text, size_t position);

/// End of the longest run of valid UTF-8 that begins at `position`.
size_t valid_utf8_end(std::string_view text, size_t position);

/// End of the run of bytes from `position` on that belong to no valid character; `position` itself where one begins.
size_t invalid_utf8_end(std::string_view text, size_t position);

/// How many bytes at the end of `text` are the beginning of a character that more bytes could still complete (0 to 3).
size_t unfinished_utf8_tail(std::string_view text);

/// Characters of valid UTF-8.
size_t count_characters(std::string_view text);

/// The character at `bytes`, which must be valid UTF-8; `length` becomes its number of bytes.
inline char32_t decode_utf8(const char* bytes, size_t& length) {
  const auto* b = reinterpret_cast<const uint8_t*>(bytes);
  if (b[0] < 0x80) {
    length = 1;
    return b[0];
  }
  if (b[0] < 0xE0) {
    length = 2;
    return (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
  }
  if (b[0] < 0xF0) {
    length = 3;
    return (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
  }
  length = 4;
  return (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
}

/// `text` with U+FFFD for each longest run of bytes that begins a character and does not finish it, and for each other
/// byte that belongs to none (the Unicode Standard, section 3.9; what Python and Rust do).
std::string to_valid_utf8(std::string_view text);

/// Appends a code point as UTF-8.
void append_utf8(std::string& text, char32_t code_point);

}  // namespace fledge::nn
