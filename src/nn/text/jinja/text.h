#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::nn::jinja {

// Python's str: operations by code point on valid UTF-8.

/// Bytes that are not UTF-8 become U+FFFD.
std::string valid_text(std::string_view text);

std::vector<char32_t> code_points(std::string_view text);
std::string from_code_points(const std::vector<char32_t>& points);
size_t text_length(std::string_view text);

/// str.isspace() of one character.
bool is_space(char32_t point);
/// Without white space at the sides, or without the characters of `characters` where it is not null.
std::string_view strip(std::string_view text, bool left, bool right, const std::string* characters = nullptr);

char32_t upper_of(char32_t point);
char32_t lower_of(char32_t point);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalized(std::string_view text);
/// str.title(): upper case after every character that is no letter.
std::string titled(std::string_view text);
bool is_letter(char32_t point);
bool is_digit(char32_t point);

/// Byte position of `part` from `from` on, in linear time; npos where there is none.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
/// How often `part` (not empty) occurs, without overlap.
size_t count_text(std::string_view text, std::string_view part);
/// At most `limit` pieces are cut off (negative: all). An empty separator stands for runs of white space.
std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t limit);
std::vector<std::string> split_right(std::string_view text, std::string_view separator, int64_t limit);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

/// repr() of a float: the shortest digits that read back.
std::string float_text(double number);
/// repr() of a str.
std::string quoted_text(std::string_view text);

}  // namespace fledge::nn::jinja
