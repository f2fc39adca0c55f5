#include <algorithm>
#include <charconv>

#include "nn/text/jinja/parser.h"

namespace fledge::nn::jinja {
namespace {

constexpr size_t kMaximumDepth = 200;

int64_t parse_integer(const Token& token) {
  std::string_view digits = token.value;
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = static_cast<char>(digits[1] | 0x20);
    base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10) digits.remove_prefix(2);
  }
  int64_t value = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (fault != std::errc() || end != digits.data() + digits.size())
    throw SyntaxFault(token.line, "the number '{}' is not an integer of 64 bits", token.value);
  return value;
}

}  // namespace

ExpressionPointer Parser::make(ExpressionKind kind, std::string name) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = current().line;
  node->name = std::move(name);
  return node;
}

ExpressionPointer Parser::finish(ExpressionPointer node) const {
  const auto visit = [&](const ExpressionPointer& part) {
    if (part) node->depth = std::max(node->depth, part->depth + 1);
  };
  for (const auto& part : node->operands) visit(part);
  for (const auto& part : node->arguments.positional) visit(part);
  for (const auto& [name, part] : node->arguments.named) visit(part);
  visit(node->arguments.more_positional);
  visit(node->arguments.more_named);
  if (node->depth > kMaximumDepth) throw SyntaxFault(node->line, "an expression nested deeper than {}", kMaximumDepth);
  return node;
}

ExpressionPointer Parser::pair(ExpressionKind kind, std::string name, ExpressionPointer left,
                               ExpressionPointer right) const {
  auto node = make(kind, std::move(name));
  node->operands.push_back(std::move(left));
  node->operands.push_back(std::move(right));
  return finish(std::move(node));
}

ExpressionPointer Parser::parse_tuple(bool with_condition, bool in_parentheses) {
  const auto ends = [&] {
    const TokenKind kind = current().kind;
    return kind == TokenKind::expression_end || kind == TokenKind::block_end || is_symbol(")");
  };
  auto node = make(ExpressionKind::tuple);
  bool is_tuple = false;
  while (!ends()) {
    if (!node->operands.empty()) {
      if (!skip_symbol(",")) break;
      is_tuple = true;
      if (ends()) break;
    }
    node->operands.push_back(parse_expression(with_condition));
    if (is_symbol(",")) is_tuple = true;
  }
  if (!is_tuple && !node->operands.empty()) return std::move(node->operands[0]);
  if (!in_parentheses && node->operands.empty()) unexpected("an expression");
  return finish(std::move(node));
}

ExpressionPointer Parser::parse_expression(bool with_condition) {
  const Nesting nesting(*this);
  auto node = parse_or();
  while (with_condition && skip_name("if")) {
    auto condition = make(ExpressionKind::condition);
    condition->operands.push_back(std::move(node));
    condition->operands.push_back(parse_or());
    if (skip_name("else")) condition->operands.push_back(parse_expression());
    node = finish(std::move(condition));
  }
  return node;
}

ExpressionPointer Parser::parse_or() {
  auto left = parse_and();
  while (skip_name("or")) left = pair(ExpressionKind::either, "or", std::move(left), parse_and());
  return left;
}

ExpressionPointer Parser::parse_and() {
  auto left = parse_not();
  while (skip_name("and")) left = pair(ExpressionKind::both, "and", std::move(left), parse_not());
  return left;
}

ExpressionPointer Parser::parse_not() {
  const Nesting nesting(*this);
  if (!is_name("not")) return parse_compare();
  auto node = make(ExpressionKind::unary, "not");
  ++at_;
  node->operands.push_back(parse_not());
  return finish(std::move(node));
}

ExpressionPointer Parser::parse_compare() {
  auto first = parse_sum();
  auto node = make(ExpressionKind::compare);
  while (true) {
    std::string name = current().value;
    if (current().kind == TokenKind::symbol &&
        (name == "==" || name == "!=" || name == "<" || name == "<=" || name == ">" || name == ">=")) {
      ++at_;
    } else if (skip_name("in")) {
      name = "in";
    } else if (is_name("not") && ahead().kind == TokenKind::name && ahead().value == "in") {
      at_ += 2;
      name = "not in";
    } else {
      break;
    }
    if (node->operands.empty()) node->operands.push_back(std::move(first));
    node->operators.push_back(std::move(name));
    node->operands.push_back(parse_sum());
  }
  return node->operands.empty() ? std::move(first) : finish(std::move(node));
}

ExpressionPointer Parser::parse_sum() {
  auto left = parse_concatenation();
  while (is_symbol("+") || is_symbol("-")) {
    const std::string name = tokens_[at_++].value;
    left = pair(ExpressionKind::binary, name, std::move(left), parse_concatenation());
  }
  return left;
}

ExpressionPointer Parser::parse_concatenation() {
  auto first = parse_product();
  if (!is_symbol("~")) return first;
  auto node = make(ExpressionKind::concatenate);
  node->operands.push_back(std::move(first));
  while (skip_symbol("~")) node->operands.push_back(parse_product());
  return finish(std::move(node));
}

ExpressionPointer Parser::parse_product() {
  auto left = parse_power();
  while (is_symbol("*") || is_symbol("/") || is_symbol("//") || is_symbol("%")) {
    const std::string name = tokens_[at_++].value;
    left = pair(ExpressionKind::binary, name, std::move(left), parse_power());
  }
  return left;
}

ExpressionPointer Parser::parse_power() {
  auto left = parse_unary(true);
  while (skip_symbol("**")) left = pair(ExpressionKind::binary, "**", std::move(left), parse_unary(true));
  return left;
}

ExpressionPointer Parser::parse_unary(bool with_filters) {
  const Nesting nesting(*this);
  ExpressionPointer node;
  if (is_symbol("-") || is_symbol("+")) {
    node = make(ExpressionKind::unary, current().value);
    ++at_;
    node->operands.push_back(parse_unary(false));
    node = finish(std::move(node));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filters ? parse_filters(std::move(node)) : std::move(node);
}

ExpressionPointer Parser::parse_primary() {
  const Token token = current();
  auto node = make(ExpressionKind::constant);
  switch (token.kind) {
    case TokenKind::name:
      ++at_;
      if (token.value == "true" || token.value == "True") {
        node->constant = Value(true);
      } else if (token.value == "false" || token.value == "False") {
        node->constant = Value(false);
      } else if (token.value != "none" && token.value != "None") {
        node->kind = ExpressionKind::name;
        node->name = token.value;
      }
      return node;
    case TokenKind::string: {
      std::string text;
      while (current().kind == TokenKind::string) text += tokens_[at_++].value;
      node->constant = Value(std::move(text));
      return node;
    }
    case TokenKind::integer:
      ++at_;
      node->constant = Value(parse_integer(token));
      return node;
    case TokenKind::floating: {
      ++at_;
      double value = 0;
      std::from_chars(token.value.data(), token.value.data() + token.value.size(), value);
      node->constant = Value(value);
      return node;
    }
    default:
      break;
  }
  if (skip_symbol("(")) {
    node = parse_tuple(true, true);
    expect_symbol(")");
    return node;
  }
  if (is_symbol("[")) return parse_list();
  if (is_symbol("{")) return parse_dict();
  unexpected("an expression");
}

ExpressionPointer Parser::parse_list() {
  auto node = make(ExpressionKind::list);
  ++at_;
  while (!skip_symbol("]")) {
    if (!node->operands.empty()) {
      expect_symbol(",");
      if (skip_symbol("]")) break;
    }
    node->operands.push_back(parse_expression());
  }
  return finish(std::move(node));
}

ExpressionPointer Parser::parse_dict() {
  auto node = make(ExpressionKind::dict);
  ++at_;
  while (!skip_symbol("}")) {
    if (!node->operands.empty()) {
      expect_symbol(",");
      if (skip_symbol("}")) break;
    }
    node->operands.push_back(parse_expression());
    expect_symbol(":");
    node->operands.push_back(parse_expression());
  }
  return finish(std::move(node));
}

ExpressionPointer Parser::parse_postfix(ExpressionPointer node) {
  while (true) {
    if (is_symbol(".") || is_symbol("[")) {
      node = parse_subscript(std::move(node));
    } else if (is_symbol("(")) {
      auto call = make(ExpressionKind::call);
      call->operands.push_back(std::move(node));
      call->arguments = parse_arguments();
      node = finish(std::move(call));
    } else {
      return node;
    }
  }
}

ExpressionPointer Parser::parse_subscript(ExpressionPointer node) {
  auto result = make(ExpressionKind::item);
  result->operands.push_back(std::move(node));
  if (skip_symbol(".")) {
    if (current().kind == TokenKind::name) {
      result->kind = ExpressionKind::attribute;
      result->name = expect_name();
      return finish(std::move(result));
    }
    if (current().kind != TokenKind::integer) unexpected("a name or a number");
    auto index = make(ExpressionKind::constant);
    index->constant = Value(parse_integer(tokens_[at_++]));
    result->operands.push_back(std::move(index));
    return finish(std::move(result));
  }
  expect_symbol("[");
  if (!is_symbol(":")) result->operands.push_back(parse_tuple(true));
  if (is_symbol(":")) {
    result->kind = ExpressionKind::slice;
    if (result->operands.size() == 1) result->operands.push_back(make(ExpressionKind::constant));
    while (result->operands.size() < 4) {
      if (!skip_symbol(":") || is_symbol("]") || is_symbol(":")) {
        result->operands.push_back(make(ExpressionKind::constant));
      } else {
        result->operands.push_back(parse_expression());
      }
    }
  }
  expect_symbol("]");
  return finish(std::move(result));
}

ExpressionPointer Parser::parse_filters(ExpressionPointer node) {
  while (true) {
    if (skip_symbol("|")) {
      node = parse_filter(std::move(node));
    } else if (node && is_name("is")) {
      node = parse_test(std::move(node));
    } else if (node && is_symbol("(")) {
      node = parse_postfix(std::move(node));
    } else {
      return node;
    }
  }
}

std::string Parser::parse_dotted_name() {
  std::string name = expect_name();
  while (skip_symbol(".")) name += "." + expect_name();
  return name;
}

ExpressionPointer Parser::parse_filter(ExpressionPointer node) {
  auto result = make(ExpressionKind::filter, parse_dotted_name());
  if (node) result->operands.push_back(std::move(node));
  if (is_symbol("(")) result->arguments = parse_arguments();
  return finish(std::move(result));
}

ExpressionPointer Parser::parse_test(ExpressionPointer node) {
  ++at_;
  const bool negated = skip_name("not");
  auto result = make(ExpressionKind::test, parse_dotted_name());
  result->operands.push_back(std::move(node));
  const TokenKind kind = current().kind;
  const bool is_word = is_name("else") || is_name("or") || is_name("and") || is_name("if") || is_name("in") ||
                       is_name("not") || is_name("is");
  if (is_symbol("(")) {
    result->arguments = parse_arguments();
  } else if (is_name("is")) {
    throw SyntaxFault(current().line, "tests cannot follow one another: 'is' stands behind a test");
  } else if (!is_word && (kind == TokenKind::name || kind == TokenKind::string || kind == TokenKind::integer ||
                          kind == TokenKind::floating || is_symbol("[") || is_symbol("{"))) {
    result->arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  result = finish(std::move(result));
  if (!negated) return result;
  auto negation = make(ExpressionKind::unary, "not");
  negation->operands.push_back(std::move(result));
  return finish(std::move(negation));
}

ArgumentList Parser::parse_arguments() {
  ArgumentList arguments;
  expect_symbol("(");
  bool first = true;
  while (!skip_symbol(")")) {
    if (!first) {
      expect_symbol(",");
      if (skip_symbol(")")) break;
    }
    first = false;
    if (skip_symbol("**")) {
      arguments.more_named = parse_expression();
    } else if (skip_symbol("*")) {
      arguments.more_positional = parse_expression();
    } else if (current().kind == TokenKind::name && ahead().kind == TokenKind::symbol && ahead().value == "=") {
      std::string name = expect_name();
      ++at_;
      arguments.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!arguments.named.empty())
        throw SyntaxFault(current().line, "an argument without a name follows one with a name");
      arguments.positional.push_back(parse_expression());
    }
  }
  return arguments;
}

}  // namespace fledge::nn::jinja
