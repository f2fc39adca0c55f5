#include "nn/text/jinja/lexer.h"

#include <algorithm>

#include "nn/text/jinja/text.h"
#include "nn/text/utf8.h"

namespace fledge::nn::jinja {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<uint8_t>(c) >= 0x80;
}

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Line ends become "\n" and a single one at the end goes, as Jinja has it.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t at = 0; at < source.size(); ++at) {
    if (source[at] != '\r') {
      text += source[at];
    } else {
      text += '\n';
      if (at + 1 < source.size() && source[at + 1] == '\n') ++at;
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(normalized(source)) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) read_text();
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  bool sees(std::string_view what) const { return std::string_view(text_).substr(at_).starts_with(what); }

  void add(TokenKind kind, std::string value) { tokens_.push_back({kind, std::move(value), line_}); }

  /// Moves on and counts lines.
  void move_to(size_t position) {
    line_ += static_cast<size_t>(
        std::count(text_.begin() + static_cast<int64_t>(at_), text_.begin() + static_cast<int64_t>(position), '\n'));
    at_ = position;
  }

  void skip_space() {
    size_t position = at_;
    while (position < text_.size()) {
      size_t length = 1;
      if (!is_space(decode_utf8(text_.data() + position, length))) break;
      position += length;
    }
    move_to(position);
  }

  /// Text up to the next tag, and then that tag.
  void read_text() {
    size_t tag = at_;
    while ((tag = text_.find('{', tag)) != std::string::npos) {
      const char next = tag + 1 < text_.size() ? text_[tag + 1] : ' ';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    if (tag == std::string::npos) {
      add(TokenKind::text, text_.substr(at_));
      move_to(text_.size());
      return;
    }
    const char sort = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : ' ';
    add_text(std::string_view(text_).substr(at_, tag - at_), sign, sort != '{');
    const size_t start = line_;
    move_to(tag + (sign == '-' || sign == '+' ? 3 : 2));
    if (sort == '#') {
      read_comment(start);
    } else if (sort == '%' && at_raw()) {
      read_raw(start);
    } else {
      read_tag(sort == '%');
    }
  }

  /// The text before a tag whose sign is `sign`; `strips` where white space from the beginning of the line goes.
  void add_text(std::string_view text, char sign, bool strips) {
    const size_t all = text.size();
    if (sign == '-') {
      text = strip(text, false, true);
    } else if (sign != '+' && strips) {
      const size_t last = text.rfind('\n');
      const size_t begin = last == std::string_view::npos ? 0 : last + 1;
      if ((begin > 0 || line_begins_) && strip(text.substr(begin), true, false).empty()) text = text.substr(0, begin);
    }
    if (!text.empty()) add(TokenKind::text, std::string(text));
    move_to(at_ + all);
  }

  /// Behind a tag that ends at at_: `-` strips white space, otherwise one line end goes where `trims`.
  void end_tag(char sign, bool trims) {
    const size_t begin = at_;
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && trims && sees("\n")) {
      move_to(at_ + 1);
    }
    line_begins_ = at_ > begin && text_[at_ - 1] == '\n';
  }

  void read_comment(size_t start) {
    const size_t close = text_.find("#}", at_);
    if (close == std::string::npos) throw SyntaxFault(start, "a comment that begins with '{{#' has no end");
    const char sign = close > at_ ? text_[close - 1] : ' ';
    move_to(close + 2);
    end_tag(sign, true);
  }

  bool at_raw() {
    size_t position = at_;
    while (position < text_.size() && is_space(static_cast<uint8_t>(text_[position]))) ++position;
    if (text_.compare(position, 3, "raw") != 0) return false;
    position += 3;
    while (position < text_.size() && is_space(static_cast<uint8_t>(text_[position]))) ++position;
    return text_.compare(position, 2, "%}") == 0 || text_.compare(position, 3, "-%}") == 0;
  }

  void read_raw(size_t start) {
    const size_t close = text_.find("%}", at_);
    const char sign = text_[close - 1];
    move_to(close + 2);
    end_tag(sign, false);
    for (size_t tag = at_; (tag = text_.find("{%", tag)) != std::string::npos; tag += 2) {
      size_t position = tag + 2;
      const char end_sign = position < text_.size() ? text_[position] : ' ';
      if (end_sign == '-' || end_sign == '+') ++position;
      while (position < text_.size() && is_space(static_cast<uint8_t>(text_[position]))) ++position;
      if (text_.compare(position, 6, "endraw") != 0) continue;
      position += 6;
      while (position < text_.size() && is_space(static_cast<uint8_t>(text_[position]))) ++position;
      const char close_sign = position < text_.size() ? text_[position] : ' ';
      if (close_sign == '-' || close_sign == '+') ++position;
      if (text_.compare(position, 2, "%}") != 0) continue;
      add_text(std::string_view(text_).substr(at_, tag - at_), end_sign, true);
      move_to(position + 2);
      end_tag(close_sign, true);
      return;
    }
    throw SyntaxFault(start, "a raw block has no endraw");
  }

  /// What stands between `{{` and `}}` or between `{%` and `%}`.
  void read_tag(bool block) {
    const size_t start = line_;
    const std::string_view close = block ? "%}" : "}}";
    add(block ? TokenKind::block_begin : TokenKind::expression_begin, "");
    std::string open;
    while (true) {
      skip_space();
      if (at_ >= text_.size())
        throw SyntaxFault(start, "a tag that begins with '{}' has no end '{}'", block ? "{%" : "{{", close);
      if (open.empty()) {
        const char sign = text_[at_];
        const bool signed_end =
            (sign == '-' || (sign == '+' && block)) && std::string_view(text_).substr(at_ + 1).starts_with(close);
        if (signed_end || sees(close)) {
          add(block ? TokenKind::block_end : TokenKind::expression_end, "");
          move_to(at_ + (signed_end ? 3 : 2));
          end_tag(signed_end ? sign : ' ', block);
          return;
        }
      }
      read_token(open);
    }
  }

  void read_token(std::string& open) {
    const char c = text_[at_];
    if (is_name_start(c)) {
      size_t end = at_ + 1;
      while (end < text_.size() && (is_name_start(text_[end]) || is_ascii_digit(text_[end]))) ++end;
      add(TokenKind::name, text_.substr(at_, end - at_));
      move_to(end);
    } else if (is_ascii_digit(c)) {
      read_number();
    } else if (c == '"' || c == '\'') {
      read_string(c);
    } else {
      read_symbol(open);
    }
  }

  void read_number() {
    size_t end = at_;
    bool floating = false;
    const auto digits = [&] {
      while (end < text_.size() && (is_ascii_digit(text_[end]) ||
                                    (text_[end] == '_' && end + 1 < text_.size() && is_ascii_digit(text_[end + 1]))))
        ++end;
    };
    const char base = at_ + 1 < text_.size() && text_[at_] == '0' ? static_cast<char>(text_[at_ + 1] | 0x20) : ' ';
    if (base == 'x' || base == 'o' || base == 'b') {
      end += 2;
      while (end < text_.size() && (std::isxdigit(static_cast<uint8_t>(text_[end])) != 0 || text_[end] == '_')) ++end;
    } else {
      digits();
      // In a.1.0 the numbers are two indices.
      const bool is_index = at_ > 0 && text_[at_ - 1] == '.';
      if (!is_index && end + 1 < text_.size() && text_[end] == '.' && is_ascii_digit(text_[end + 1])) {
        floating = true;
        ++end;
        digits();
      }
      size_t power = end + 1;
      if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
        if (power < text_.size() && (text_[power] == '+' || text_[power] == '-')) ++power;
        if (power < text_.size() && is_ascii_digit(text_[power])) {
          floating = true;
          end = power;
          digits();
        }
      }
    }
    std::string value = text_.substr(at_, end - at_);
    std::erase(value, '_');
    add(floating ? TokenKind::floating : TokenKind::integer, value);
    move_to(end);
  }

  void read_string(char quote) {
    std::string value;
    size_t position = at_ + 1;
    while (position < text_.size() && text_[position] != quote) {
      if (text_[position] == '\\' && position + 1 < text_.size()) {
        position = read_escape(position + 1, value);
      } else {
        value += text_[position++];
      }
    }
    if (position >= text_.size()) throw SyntaxFault(line_, "a string has no end");
    add(TokenKind::string, value);
    move_to(position + 1);
  }

  /// The escape whose letter is at `position`, as in Python; returns the position behind it.
  size_t read_escape(size_t position, std::string& value) {
    const char letter = text_[position++];
    const std::string_view letters = "ntrabfv\\'\"", values = "\n\t\r\a\b\f\v\\'\"";
    if (const size_t known = letters.find(letter); known != std::string_view::npos) {
      value += values[known];
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
      const std::string code = text_.substr(position, digits);
      if (code.size() < digits || !std::ranges::all_of(code, [](uint8_t c) { return std::isxdigit(c) != 0; }))
        throw SyntaxFault(line_, "\\{} in a string needs {} hexadecimal digits", letter, digits);
      const unsigned long point = std::stoul(code, nullptr, 16);
      const bool valid = point < 0xD800 || (point > 0xDFFF && point <= 0x10FFFF);
      append_utf8(value, valid ? static_cast<char32_t>(point) : U'\uFFFD');
      position += digits;
    } else if (letter >= '0' && letter <= '7') {
      uint32_t point = static_cast<uint32_t>(letter - '0');
      for (int digit = 0; digit < 2 && position < text_.size() && text_[position] >= '0' && text_[position] <= '7';
           ++digit)
        point = point * 8 + static_cast<uint32_t>(text_[position++] - '0');
      append_utf8(value, point);
    } else if (letter != '\n') {
      value += '\\';
      value += letter;
    }
    return position;
  }

  void read_symbol(std::string& open) {
    for (const std::string_view symbol : {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "<", ">",
                                          "=",  ".",  ":",  "|",  ",",  ";",  "~", "(", ")", "[", "]", "{", "}"}) {
      if (!sees(symbol)) continue;
      if (symbol == "(" || symbol == "[" || symbol == "{") {
        open += symbol == "(" ? ')' : symbol == "[" ? ']' : '}';
      } else if (symbol == ")" || symbol == "]" || symbol == "}") {
        if (open.empty() || open.back() != symbol[0]) throw SyntaxFault(line_, "'{}' closes nothing", symbol);
        open.pop_back();
      }
      add(TokenKind::symbol, std::string(symbol));
      move_to(at_ + symbol.size());
      return;
    }
    throw SyntaxFault(line_, "the character '{}' has no meaning in a tag",
                      static_cast<uint8_t>(text_[at_]) < 0x20 ? '?' : text_[at_]);
  }

  const std::string text_;
  size_t at_ = 0, line_ = 1;
  bool line_begins_ = true;  ///< the last tag ended with a line end, or there was none
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace fledge::nn::jinja
