#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/text/jinja/value.h"

namespace fledge::nn::jinja {

// The tree of a template. Each node says which of its parts it uses.

struct Expression;
using ExpressionPointer = std::unique_ptr<Expression>;

enum class ExpressionKind : uint8_t {
  constant,     ///< constant
  name,         ///< name
  list,         ///< operands
  tuple,        ///< operands
  dict,         ///< operands: key, value, key, value, ...
  attribute,    ///< operands[0].name
  item,         ///< operands[0][operands[1]]
  slice,        ///< operands[0][operands[1]:operands[2]:operands[3]]; a missing bound is a constant None
  call,         ///< operands[0](arguments)
  filter,       ///< operands[0] | name(arguments); operands is empty for the body of a filter block
  test,         ///< operands[0] is name(arguments)
  unary,        ///< name (-, +, not) operands[0]
  binary,       ///< operands[0] name operands[1]
  concatenate,  ///< operands joined by ~
  both,         ///< operands[0] and operands[1]
  either,       ///< operands[0] or operands[1]
  compare,      ///< operands[0] operators[0] operands[1] operators[1] ...
  condition     ///< operands[0] if operands[1] else operands[2], which may be missing
};

struct ArgumentList {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<std::string, ExpressionPointer>> named;
  ExpressionPointer more_positional, more_named;  ///< *args, **kwargs
};

struct Expression {
  ExpressionKind kind = ExpressionKind::constant;
  size_t line = 1, depth = 1;
  std::string name;
  Value constant;
  std::vector<ExpressionPointer> operands;
  std::vector<std::string> operators;
  ArgumentList arguments;
};

/// What `set`, `for` and `with` assign to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  std::string name, attribute;
  std::vector<Target> parts;  ///< a tuple where not empty
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

enum class StatementKind : uint8_t {
  text,          ///< text
  output,        ///< expression
  conditional,   ///< branches: expression (missing for else) and block
  loop,          ///< target in expression if filter: body, else_body
  assign,        ///< target = expression
  capture,       ///< target = the output of body, through the filters of expression where there are some
  macro,         ///< macro
  call_block,    ///< expression called with macro as `caller`
  filter_block,  ///< the output of body through expression
  with,          ///< targets = expressions: body
  generation,    ///< body
  evaluate,      ///< expression, for its effect
  break_loop,
  continue_loop
};

struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPointer> defaults;  ///< of the last parameters
  Block body;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct Branch {
  ExpressionPointer condition;
  Block body;
};

struct Statement {
  StatementKind kind = StatementKind::text;
  size_t line = 1;
  std::string text;
  ExpressionPointer expression, filter;
  Target target;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, ExpressionPointer>> assignments;
  Block body, else_body;
  std::unique_ptr<Macro> macro;
};

/// A parsed template.
struct Syntax {
  Block body;
};

}  // namespace fledge::nn::jinja
