#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/jinja/syntax.h"
#include "nn/text/jinja/template.h"
#include "nn/text/jinja/value.h"

namespace fledge::nn::jinja {

/// The variables of a block, and those around it.
struct Scope {
  std::map<std::string, Value, std::less<>> variables;
  std::shared_ptr<Scope> parent;

  const Value* find(std::string_view name) const;
};

/// A function that the interpreter or a method brings along.
class Function : public Object {
 public:
  using Body = std::function<Value(Interpreter&, const Arguments&)>;
  Function(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}
  std::string type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) override { return body_(interpreter, arguments); }

 private:
  std::string name_;
  Body body_;
};
Value make_function(std::string name, Function::Body body);

/// namespace(): the one kind of value that a template may change.
class Namespace : public Object {
 public:
  std::string type_name() const override { return "Namespace"; }
  std::optional<Value> attribute(Interpreter& interpreter, std::string_view name) override;
  std::map<std::string, Value, std::less<>> values;
};

/// What select, map and their like return: items that can be gone through once.
class Generator : public Object {
 public:
  explicit Generator(std::vector<Value> items) : items_(std::move(items)) {}
  std::string type_name() const override { return "generator"; }
  std::optional<std::vector<Value>> take_items() override { return std::exchange(items_, {}); }
  std::optional<Value> take_first();

 private:
  std::vector<Value> items_;
};
Value make_generator(std::vector<Value> items, Budget& budget);

/// Renders one template once. interpreter.cpp has the statements, evaluate.cpp the expressions.
class Interpreter {
 public:
  Interpreter(const Limits& limits, const base::OrderedJson& variables);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  /// Throws Fault; line() is then that of the fault.
  Rendered run(const Syntax& syntax);
  size_t line() const { return line_; }

  Budget& budget() { return budget_; }
  Value call(const Value& callee, const Arguments& arguments);
  Value call_macro(const Macro& macro, const std::shared_ptr<Scope>& scope, const Arguments& arguments);
  /// The items of anything that can be iterated over. Throws Fault for what cannot.
  std::vector<Value> iterate(const Value& value);
  /// value.name: the methods first, then the keys of a dict.
  Value attribute(const Value& value, const std::string& name);
  /// value[key]: keys and indices first, then the methods.
  Value item(const Value& value, const Value& key);
  Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
  bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);
  /// A namespace is emptied when the rendering ends, because it may hold itself.
  std::shared_ptr<Namespace> new_namespace();

 private:
  enum class Flow : uint8_t { next, break_loop, continue_loop };
  class Depth;

  Flow execute(const Block& block);
  Flow execute(const Statement& statement);
  Flow execute_if(const Statement& statement);
  Flow execute_for(const Statement& statement);
  Flow execute_with(const Statement& statement);
  void execute_call_block(const Statement& statement);
  void execute_generation(const Statement& statement);
  std::string capture(const Block& block);
  void write(std::string_view text);
  void assign(const Target& target, const Value& value);
  Value macro_value(const Macro& macro);
  void push_scope();
  void pop_scope() { scope_ = scope_->parent; }

  Value evaluate(const Expression& node);
  Value evaluate_node(const Expression& node);
  Value evaluate_call(const Expression& node);
  Value evaluate_filter(const Expression& node);
  Value evaluate_compare(const Expression& node);
  Value evaluate_concatenation(const Expression& node);
  Value evaluate_slice(const Expression& node);
  Value evaluate_dict(const Expression& node);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPointer>& nodes);
  Arguments evaluate_arguments(const ArgumentList& list);
  Value look_up(const std::string& name);

  Budget budget_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> kept_;  ///< scopes that macros remember
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  Rendered rendered_;
  std::string* output_ = nullptr;
  Value filter_input_;  ///< what a filter without an operand reads: the body of its block
  size_t line_ = 1, depth_ = 0;
  bool failed_ = false;  // line_ is already that of the fault
};

/// range, dict, namespace, raise_exception, strftime_now, joiner, cycler.
const std::map<std::string, Value, std::less<>>& global_variables();

using Filter = Value (*)(Interpreter&, const Value&, const Arguments&);
using FilterTable = std::map<std::string, Filter, std::less<>>;
void add_text_filters(FilterTable& table);
void add_number_filters(FilterTable& table);
void add_sequence_filters(FilterTable& table);

/// The method of a string, list or dict, bound to it; nothing where there is none.
std::optional<Value> find_method(const Value& value, const std::string& name);

/// "%s and %d" % value, and "{} and {name}".format(...), as Python has them.
std::string format_percent(Interpreter& interpreter, const std::string& format, const Value& value);
std::string format_braces(Interpreter& interpreter, const std::string& format, const Arguments& arguments);

/// Reads an argument; throws Fault where it is of another kind.
int64_t to_integer(const Value& value, std::string_view what);
const std::string& to_string(const Value& value, std::string_view what);

}  // namespace fledge::nn::jinja
