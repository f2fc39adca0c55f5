#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nn/text/jinja/lexer.h"
#include "nn/text/jinja/syntax.h"

namespace fledge::nn::jinja {

/// Reads the tokens of a template into its tree, with Jinja's grammar and precedences. parser.cpp has the statements,
/// parse_expression.cpp the expressions. Nesting is bounded, so that neither the parser nor whoever walks through the
/// tree runs out of stack.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  /// Throws SyntaxFault.
  Syntax parse();

 private:
  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is_symbol(std::string_view symbol) const;
  bool is_name(std::string_view name) const;
  bool skip_symbol(std::string_view symbol);
  bool skip_name(std::string_view name);
  void expect_symbol(std::string_view symbol);
  void expect_block_end();
  std::string expect_name();
  [[noreturn]] void unexpected(std::string_view wanted) const;

  // Statements.
  /// Up to a block tag with one of the names, whose name is then the current token; an empty list: up to the end.
  Block parse_block(const std::vector<std::string_view>& ends);
  /// The block up to {% end %}, which is taken too.
  Block parse_body(std::string_view end);
  std::unique_ptr<Statement> parse_statement();
  void parse_if(Statement& statement);
  void parse_for(Statement& statement);
  void parse_set(Statement& statement);
  void parse_macro(Statement& statement);
  void parse_call_block(Statement& statement);
  void parse_filter_block(Statement& statement);
  void parse_with(Statement& statement);
  void parse_parameters(Macro& macro);
  void finish_macro(Macro& macro, size_t first_token);
  Target parse_target(bool attributes);
  Target parse_target_part(bool attributes);

  // Expressions, from the loosest binding to the tightest.
  ExpressionPointer parse_expression(bool with_condition = true);
  ExpressionPointer parse_tuple(bool with_condition, bool in_parentheses = false);
  ExpressionPointer parse_or();
  ExpressionPointer parse_and();
  ExpressionPointer parse_not();
  ExpressionPointer parse_compare();
  ExpressionPointer parse_sum();
  ExpressionPointer parse_concatenation();
  ExpressionPointer parse_product();
  ExpressionPointer parse_power();
  ExpressionPointer parse_unary(bool with_filters);
  ExpressionPointer parse_primary();
  ExpressionPointer parse_list();
  ExpressionPointer parse_dict();
  ExpressionPointer parse_postfix(ExpressionPointer node);
  ExpressionPointer parse_subscript(ExpressionPointer node);
  ExpressionPointer parse_filters(ExpressionPointer node);
  ExpressionPointer parse_filter(ExpressionPointer node);
  ExpressionPointer parse_test(ExpressionPointer node);
  ArgumentList parse_arguments();
  std::string parse_dotted_name();

  ExpressionPointer make(ExpressionKind kind, std::string name = {}) const;
  /// Sets the depth of a node whose parts are all there; throws SyntaxFault where it is too deep.
  ExpressionPointer finish(ExpressionPointer node) const;
  ExpressionPointer pair(ExpressionKind kind, std::string name, ExpressionPointer left, ExpressionPointer right) const;

  class Nesting;
  std::vector<Token> tokens_;
  size_t at_ = 0, nesting_ = 0, loops_ = 0;
};

/// Counts how deep the parser is inside itself.
class Parser::Nesting {
 public:
  static constexpr size_t kMaximum = 300;
  explicit Nesting(Parser& parser) : parser_(parser) {
    if (parser_.nesting_ >= kMaximum)
      throw SyntaxFault(parser_.current().line, "nested deeper than {} levels", kMaximum);
    ++parser_.nesting_;
  }
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  Parser& parser_;
};

}  // namespace fledge::nn::jinja
