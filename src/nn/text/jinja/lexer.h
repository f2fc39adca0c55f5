#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/jinja/budget.h"

namespace fledge::nn::jinja {

enum class TokenKind : uint8_t {
  text,  ///< what stands outside of tags
  expression_begin,
  expression_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  floating,
  symbol,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string value;  ///< the name, the symbol, the content of a string, a number without underscores
  size_t line = 1;
};

/// A template that is not in the language.
class SyntaxFault : public Fault {
 public:
  template <typename... Values>
  SyntaxFault(size_t line, fmt::format_string<Values...> format, Values&&... values)
      : Fault(format, std::forward<Values>(values)...), line_(line) {}
  size_t line() const { return line_; }

 private:
  size_t line_;
};

/// Cuts a template into tokens, with trim_blocks and lstrip_blocks: the line end behind a tag or a comment goes, and so
/// does white space between the beginning of a line and a tag or a comment. `-` at the side of a tag strips all white
/// space there, `+` keeps it. Throws SyntaxFault.
std::vector<Token> tokenize(std::string_view source);

}  // namespace fledge::nn::jinja
