// The expressions of the interpreter.
#include <algorithm>

#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/operators.h"
#include "nn/text/jinja/tests.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

std::string kind_name(const Value& value) {
  return value.is(Kind::none) ? "None" : type_name(value) + " object";
}

Value missing_attribute(const Value& value, const std::string& name) {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", kind_name(value), name));
}

std::optional<Value> index_into(const Value& value, int64_t index) {
  if (value.is(Kind::string)) {
    const std::string& text = value.string();
    const auto length = static_cast<int64_t>(text_length(text));
    if (index < 0) index += length;
    if (index < 0 || index >= length) return std::nullopt;
    if (static_cast<size_t>(length) == text.size()) return Value(text.substr(static_cast<size_t>(index), 1));
    return Value(from_code_points({code_points(text)[static_cast<size_t>(index)]}));
  }
  const auto length = static_cast<int64_t>(value.items().size());
  if (index < 0) index += length;
  if (index < 0 || index >= length || !value.list().view.empty()) return std::nullopt;
  return value.items()[static_cast<size_t>(index)];
}

const FilterTable& filters() {
  static const FilterTable table = [] {
    FilterTable all;
    add_text_filters(all);
    add_number_filters(all);
    add_sequence_filters(all);
    return all;
  }();
  return table;
}

}  // namespace

Value Interpreter::look_up(const std::string& name) {
  if (const Value* found = scope_->find(name)) return *found;
  const auto& globals = global_variables();
  const auto found = globals.find(name);
  if (found != globals.end()) return found->second;
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

Value Interpreter::evaluate(const Expression& node) {
  if (depth_ >= budget_.limits().depth) throw Fault("blocks and macros nested deeper than {}", budget_.limits().depth);
  budget_.spend();
  ++depth_;
  Value value;
  try {
    value = evaluate_node(node);
  } catch (...) {
    // The line of the innermost node that failed stays.
    if (!failed_) line_ = node.line;
    failed_ = true;
    throw;
  }
  --depth_;
  return value;
}

Value Interpreter::evaluate_node(const Expression& node) {
  switch (node.kind) {
    case ExpressionKind::constant:
      return node.constant;
    case ExpressionKind::name:
      return look_up(node.name);
    case ExpressionKind::list:
      return make_list(evaluate_all(node.operands), budget_);
    case ExpressionKind::tuple:
      return make_tuple(evaluate_all(node.operands), budget_);
    case ExpressionKind::dict:
      return evaluate_dict(node);
    case ExpressionKind::attribute:
      return attribute(evaluate(*node.operands[0]), node.name);
    case ExpressionKind::item: {
      const Value value = evaluate(*node.operands[0]);
      return item(value, evaluate(*node.operands[1]));
    }
    case ExpressionKind::slice:
      return evaluate_slice(node);
    case ExpressionKind::call:
      return evaluate_call(node);
    case ExpressionKind::filter:
      return evaluate_filter(node);
    case ExpressionKind::test: {
      const Value value = evaluate(*node.operands[0]);
      return Value(apply_test(node.name, value, evaluate_arguments(node.arguments)));
    }
    case ExpressionKind::unary: {
      const Value value = evaluate(*node.operands[0]);
      if (node.name == "not") return Value(!truth(value));
      return node.name == "-" ? negated(value) : arithmetic("+", Value(0), value, budget_);
    }
    case ExpressionKind::binary: {
      const Value left = evaluate(*node.operands[0]), right = evaluate(*node.operands[1]);
      if (node.name == "%" && left.is(Kind::string)) return Value(format_percent(*this, left.string(), right));
      return arithmetic(node.name, left, right, budget_);
    }
    case ExpressionKind::concatenate:
      return evaluate_concatenation(node);
    case ExpressionKind::both: {
      const Value left = evaluate(*node.operands[0]);
      return truth(left) ? evaluate(*node.operands[1]) : left;
    }
    case ExpressionKind::either: {
      const Value left = evaluate(*node.operands[0]);
      return truth(left) ? left : evaluate(*node.operands[1]);
    }
    case ExpressionKind::compare:
      return evaluate_compare(node);
    case ExpressionKind::condition:
      if (truth(evaluate(*node.operands[1]))) return evaluate(*node.operands[0]);
      if (node.operands.size() > 2) return evaluate(*node.operands[2]);
      return Value::undefined("an inline 'if' without 'else' has no value here");
  }
  return Value();
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPointer>& nodes) {
  std::vector<Value> values;
  values.reserve(nodes.size());
  for (const auto& node : nodes) values.push_back(evaluate(*node));
  return values;
}

Arguments Interpreter::evaluate_arguments(const ArgumentList& list) {
  Arguments arguments;
  arguments.positional = evaluate_all(list.positional);
  if (list.more_positional) {
    for (Value& value : iterate(evaluate(*list.more_positional))) arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, node] : list.named) arguments.named.emplace_back(name, evaluate(*node));
  if (list.more_named) {
    const Value more = evaluate(*list.more_named);
    if (!more.is(Kind::dict)) throw Fault("what follows '**' is a {} and not a dict", type_name(more));
    for (const auto& [key, value] : more.dict().entries)
      arguments.named.emplace_back(to_string(key, "the name of an argument"), value);
  }
  return arguments;
}

Value Interpreter::evaluate_dict(const Expression& node) {
  Dict dict;
  for (size_t index = 0; index < node.operands.size(); index += 2) {
    const Value key = evaluate(*node.operands[index]);
    budget_.spend(weight_of(key));
    dict.set(key, evaluate(*node.operands[index + 1]));
  }
  return make_dict(std::move(dict), budget_);
}

Value Interpreter::evaluate_call(const Expression& node) {
  const Value callee = evaluate(*node.operands[0]);
  return call(callee, evaluate_arguments(node.arguments));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  require_defined(callee);
  if (!callee.is(Kind::object) || !callee.object().callable()) throw Fault("a {} cannot be called", type_name(callee));
  return callee.object().call(*this, arguments);
}

Value Interpreter::evaluate_filter(const Expression& node) {
  const Value value = node.operands.empty() ? filter_input_ : evaluate(*node.operands[0]);
  return apply_filter(node.name, value, evaluate_arguments(node.arguments));
}

Value Interpreter::apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto found = filters().find(name);
  if (found == filters().end()) throw Fault("there is no filter '{}'", name);
  budget_.spend(weight_of(value));
  return found->second(*this, value, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  return run_test(*this, name, value, arguments);
}

Value Interpreter::evaluate_compare(const Expression& node) {
  Value left = evaluate(*node.operands[0]);
  for (size_t index = 0; index < node.operators.size(); ++index) {
    const std::string& name = node.operators[index];
    Value right = evaluate(*node.operands[index + 1]);
    const bool holds = name == "in"       ? contains(*this, right, left)
                       : name == "not in" ? !contains(*this, right, left)
                                          : compare(name, left, right, budget_);
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concatenation(const Expression& node) {
  std::string text;
  for (const auto& operand : node.operands) {
    const Value value = evaluate(*operand);
    budget_.spend(weight_of(value));
    const std::string part = to_text(value);
    budget_.make_text(part.size());
    text += part;
  }
  return Value(std::move(text));
}

Value Interpreter::evaluate_slice(const Expression& node) {
  const std::vector<Value> parts = evaluate_all(node.operands);
  return slice(parts[0], parts[1], parts[2], parts[3], budget_);
}

Value Interpreter::attribute(const Value& value, const std::string& name) {
  require_defined(value);
  if (const auto method = find_method(value, name)) return *method;
  if (value.is(Kind::dict)) {
    if (const Value* found = value.dict().find(std::string_view(name))) return *found;
  } else if (value.is(Kind::object)) {
    if (auto found = value.object().attribute(*this, name)) return *found;
  }
  return missing_attribute(value, name);
}

Value Interpreter::item(const Value& value, const Value& key) {
  require_defined(value);
  if (value.is(Kind::dict)) {
    budget_.spend(weight_of(key));
    if (key.is(Kind::undefined) || key.is(Kind::list) || key.is(Kind::dict))
      return Value::undefined(fmt::format("'{}' has no attribute '{}'", kind_name(value), to_text(key)));
    if (const Value* found = value.dict().find(key)) return *found;
  } else if ((value.is(Kind::string) || value.is_sequence()) && (key.is(Kind::integer) || key.is(Kind::boolean))) {
    if (value.is(Kind::string)) budget_.spend(value.string().size() / 64);
    if (auto found = index_into(value, key.integer())) return *found;
    return Value::undefined(fmt::format("'{}' has no element {}", kind_name(value), key.integer()));
  }
  if (key.is(Kind::string)) {
    if (const auto method = find_method(value, key.string())) return *method;
    if (value.is(Kind::object)) {
      if (auto found = value.object().attribute(*this, key.string())) return *found;
    }
  }
  return missing_attribute(value, to_text(key));
}

std::vector<Value> Interpreter::iterate(const Value& value) {
  budget_.spend(1 + weight_of(value) / 16);
  switch (value.kind()) {
    case Kind::undefined:
      return {};
    case Kind::list:
    case Kind::tuple:
      budget_.spend(value.items().size());
      return value.items();
    case Kind::dict: {
      std::vector<Value> keys;
      for (const auto& [key, unused] : value.dict().entries) keys.push_back(key);
      budget_.spend(keys.size());
      return keys;
    }
    case Kind::string: {
      const std::vector<char32_t> points = code_points(value.string());
      budget_.make_items(points.size());
      std::vector<Value> characters;
      for (const char32_t point : points) characters.emplace_back(from_code_points({point}));
      return characters;
    }
    case Kind::object:
      if (auto items = value.object().take_items()) return std::move(*items);
      [[fallthrough]];
    default:
      throw Fault("a {} cannot be iterated over", type_name(value));
  }
}

}  // namespace fledge::nn::jinja
