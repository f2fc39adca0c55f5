#include "nn/text/jinja/parser.h"

#include <algorithm>

namespace fledge::nn::jinja {

bool Parser::is_symbol(std::string_view symbol) const {
  return current().kind == TokenKind::symbol && current().value == symbol;
}

bool Parser::is_name(std::string_view name) const {
  return current().kind == TokenKind::name && current().value == name;
}

bool Parser::skip_symbol(std::string_view symbol) {
  if (!is_symbol(symbol)) return false;
  ++at_;
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  ++at_;
  return true;
}

void Parser::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol)) unexpected(fmt::format("'{}'", symbol));
}

void Parser::expect_block_end() {
  if (current().kind != TokenKind::block_end) unexpected("the end of the tag");
  ++at_;
}

std::string Parser::expect_name() {
  if (current().kind != TokenKind::name) unexpected("a name");
  return tokens_[at_++].value;
}

void Parser::unexpected(std::string_view wanted) const {
  constexpr std::string_view kNames[] = {"text", "'{{'", "the end of the expression", "'{%'", "the end of the tag"};
  const auto kind = static_cast<size_t>(current().kind);
  const std::string found = current().kind == TokenKind::end ? "the end of the template"
                            : kind < std::size(kNames)       ? std::string(kNames[kind])
                                                             : fmt::format("'{}'", current().value);
  throw SyntaxFault(current().line, "{} was found where {} was expected", found, wanted);
}

Syntax Parser::parse() {
  return {parse_block({})};
}

Block Parser::parse_block(const std::vector<std::string_view>& ends) {
  const Nesting nesting(*this);
  Block block;
  while (true) {
    const Token& token = current();
    if (token.kind == TokenKind::end) {
      if (!ends.empty()) throw SyntaxFault(token.line, "the template ends where '{}' was expected", ends.back());
      return block;
    }
    auto statement = std::make_unique<Statement>();
    statement->line = token.line;
    ++at_;
    if (token.kind == TokenKind::text) {
      statement->text = token.value;
    } else if (token.kind == TokenKind::expression_begin) {
      statement->kind = StatementKind::output;
      statement->expression = parse_tuple(true);
      if (current().kind != TokenKind::expression_end) unexpected("the end of the expression");
      ++at_;
    } else {
      if (current().kind == TokenKind::name && std::ranges::find(ends, current().value) != ends.end()) return block;
      statement = parse_statement();
    }
    block.push_back(std::move(statement));
  }
}

Block Parser::parse_body(std::string_view end) {
  Block block = parse_block({end});
  ++at_;
  expect_block_end();
  return block;
}

std::unique_ptr<Statement> Parser::parse_statement() {
  auto statement = std::make_unique<Statement>();
  statement->line = current().line;
  const std::string tag = expect_name();
  if (tag == "if") {
    parse_if(*statement);
  } else if (tag == "for") {
    parse_for(*statement);
  } else if (tag == "set") {
    parse_set(*statement);
  } else if (tag == "macro") {
    parse_macro(*statement);
  } else if (tag == "call") {
    parse_call_block(*statement);
  } else if (tag == "filter") {
    parse_filter_block(*statement);
  } else if (tag == "with") {
    parse_with(*statement);
  } else if (tag == "generation") {
    statement->kind = StatementKind::generation;
    expect_block_end();
    const size_t loops = std::exchange(loops_, 0);
    statement->body = parse_body("endgeneration");
    loops_ = loops;
  } else if (tag == "do") {
    statement->kind = StatementKind::evaluate;
    statement->expression = parse_tuple(true);
    expect_block_end();
  } else if (tag == "break" || tag == "continue") {
    if (loops_ == 0) throw SyntaxFault(statement->line, "'{}' stands outside of a loop", tag);
    statement->kind = tag == "break" ? StatementKind::break_loop : StatementKind::continue_loop;
    expect_block_end();
  } else if (tag == "include" || tag == "import" || tag == "from" || tag == "extends" || tag == "block") {
    throw SyntaxFault(statement->line, "'{}' is not supported: a chat template is a single file", tag);
  } else {
    throw SyntaxFault(statement->line, "there is no tag '{}'", tag);
  }
  return statement;
}

void Parser::parse_if(Statement& statement) {
  statement.kind = StatementKind::conditional;
  bool last = false;
  while (true) {
    Branch& branch = statement.branches.emplace_back();
    if (!last) branch.condition = parse_tuple(false);
    expect_block_end();
    branch.body = last ? parse_block({"endif"}) : parse_block({"elif", "else", "endif"});
    const std::string tag = expect_name();
    if (tag == "endif") break;
    last = tag == "else";
  }
  expect_block_end();
}

void Parser::parse_for(Statement& statement) {
  statement.kind = StatementKind::loop;
  statement.target = parse_target(false);
  if (!skip_name("in")) unexpected("'in'");
  statement.expression = parse_tuple(false);
  if (skip_name("if")) statement.filter = parse_expression();
  if (is_name("recursive")) throw SyntaxFault(current().line, "recursive loops are not supported");
  expect_block_end();
  ++loops_;
  statement.body = parse_block({"else", "endfor"});
  --loops_;
  const bool has_else = expect_name() == "else";
  expect_block_end();
  if (has_else) statement.else_body = parse_body("endfor");
}

Target Parser::parse_target_part(bool attributes) {
  const Nesting nesting(*this);
  if (skip_symbol("(")) {
    Target target = parse_target(attributes);
    expect_symbol(")");
    return target;
  }
  Target target;
  target.name = expect_name();
  if (target.name == "true" || target.name == "false" || target.name == "none")
    throw SyntaxFault(current().line, "'{}' cannot be assigned to", target.name);
  if (attributes && skip_symbol(".")) target.attribute = expect_name();
  return target;
}

Target Parser::parse_target(bool attributes) {
  Target first = parse_target_part(attributes);
  if (!is_symbol(",")) return first;
  Target tuple;
  tuple.parts.push_back(std::move(first));
  while (skip_symbol(",")) {
    if (current().kind != TokenKind::name && !is_symbol("(")) break;
    if (is_name("in")) break;
    tuple.parts.push_back(parse_target_part(attributes));
  }
  return tuple;
}

void Parser::parse_set(Statement& statement) {
  statement.target = parse_target(true);
  if (skip_symbol("=")) {
    statement.kind = StatementKind::assign;
    statement.expression = parse_tuple(true);
    expect_block_end();
    return;
  }
  statement.kind = StatementKind::capture;
  if (is_symbol("|")) statement.expression = parse_filters(nullptr);
  expect_block_end();
  const size_t loops = std::exchange(loops_, 0);
  statement.body = parse_body("endset");
  loops_ = loops;
}

void Parser::parse_parameters(Macro& macro) {
  expect_symbol("(");
  while (!skip_symbol(")")) {
    if (!macro.parameters.empty()) {
      expect_symbol(",");
      if (skip_symbol(")")) break;
    }
    macro.parameters.push_back(expect_name());
    if (skip_symbol("=")) {
      macro.defaults.push_back(parse_expression());
    } else if (!macro.defaults.empty()) {
      throw SyntaxFault(current().line, "a parameter without a default value follows one with");
    }
  }
}

/// The body of a macro, whose tokens say which of the implicit variables it uses.
void Parser::finish_macro(Macro& macro, size_t first_token) {
  for (size_t token = first_token; token < at_; ++token) {
    if (tokens_[token].kind != TokenKind::name) continue;
    macro.uses_varargs = macro.uses_varargs || tokens_[token].value == "varargs";
    macro.uses_kwargs = macro.uses_kwargs || tokens_[token].value == "kwargs";
    macro.uses_caller = macro.uses_caller || tokens_[token].value == "caller";
  }
}

void Parser::parse_macro(Statement& statement) {
  statement.kind = StatementKind::macro;
  statement.macro = std::make_unique<Macro>();
  statement.macro->name = expect_name();
  parse_parameters(*statement.macro);
  expect_block_end();
  const size_t first = at_, loops = std::exchange(loops_, 0);
  statement.macro->body = parse_body("endmacro");
  loops_ = loops;
  finish_macro(*statement.macro, first);
}

void Parser::parse_call_block(Statement& statement) {
  statement.kind = StatementKind::call_block;
  statement.macro = std::make_unique<Macro>();
  statement.macro->name = "caller";
  if (is_symbol("(")) parse_parameters(*statement.macro);
  statement.expression = parse_expression();
  if (statement.expression->kind != ExpressionKind::call)
    throw SyntaxFault(statement.line, "'call' needs the call of a macro");
  expect_block_end();
  const size_t first = at_, loops = std::exchange(loops_, 0);
  statement.macro->body = parse_body("endcall");
  loops_ = loops;
  finish_macro(*statement.macro, first);
}

void Parser::parse_filter_block(Statement& statement) {
  statement.kind = StatementKind::filter_block;
  statement.expression = parse_filter(nullptr);
  statement.expression = parse_filters(std::move(statement.expression));
  expect_block_end();
  const size_t loops = std::exchange(loops_, 0);
  statement.body = parse_body("endfilter");
  loops_ = loops;
}

void Parser::parse_with(Statement& statement) {
  statement.kind = StatementKind::with;
  while (current().kind != TokenKind::block_end) {
    if (!statement.assignments.empty()) expect_symbol(",");
    Target target = parse_target_part(false);
    expect_symbol("=");
    statement.assignments.emplace_back(std::move(target), parse_expression());
  }
  expect_block_end();
  statement.body = parse_body("endwith");
}

}  // namespace fledge::nn::jinja
