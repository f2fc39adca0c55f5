#include "nn/text/jinja/interpreter.h"

#include <algorithm>

#include "base/json.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

/// The variable `loop`.
class Loop : public Object {
 public:
  explicit Loop(std::shared_ptr<const std::vector<Value>> items) : items_(std::move(items)) {}

  std::string type_name() const override { return "LoopContext"; }
  void move_to(size_t index) { index_ = index; }

  std::optional<Value> attribute(Interpreter&, std::string_view name) override {
    const auto index = static_cast<int64_t>(index_), length = static_cast<int64_t>(items_->size());
    if (name == "index") return Value(index + 1);
    if (name == "index0") return Value(index);
    if (name == "revindex") return Value(length - index);
    if (name == "revindex0") return Value(length - index - 1);
    if (name == "first") return Value(index == 0);
    if (name == "last") return Value(index + 1 == length);
    if (name == "length") return Value(length);
    // Only recursive loops, which there are none of here, are deeper.
    if (name == "depth") return Value(1);
    if (name == "depth0") return Value(0);
    if (name == "previtem") return index > 0 ? (*items_)[index_ - 1] : Value::undefined("there is no previous item");
    if (name == "nextitem")
      return index + 1 < length ? (*items_)[index_ + 1] : Value::undefined("there is no next item");
    if (name == "cycle") return cycle_function(index_);
    return std::nullopt;
  }

 private:
  static Value cycle_function(size_t index) {
    return make_function("cycle", [index](Interpreter&, const Arguments& arguments) {
      if (arguments.positional.empty()) throw Fault("loop.cycle needs at least one value");
      return arguments.positional[index % arguments.positional.size()];
    });
  }

  std::shared_ptr<const std::vector<Value>> items_;
  size_t index_ = 0;
};

/// A macro and the scope that it was made in, which the interpreter keeps alive.
class MacroObject : public Object {
 public:
  MacroObject(const Macro& macro, const std::shared_ptr<Scope>& scope) : macro_(macro), scope_(scope) {}
  std::string type_name() const override { return "Macro"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) override {
    return interpreter.call_macro(macro_, scope_.lock(), arguments);
  }
  std::optional<Value> attribute(Interpreter&, std::string_view name) override {
    if (name == "name") return Value(macro_.name);
    return std::nullopt;
  }

 private:
  const Macro& macro_;
  std::weak_ptr<Scope> scope_;
};

}  // namespace

/// Counts blocks, expressions and macros inside each other.
class Interpreter::Depth {
 public:
  explicit Depth(Interpreter& interpreter) : interpreter_(interpreter) {
    const size_t limit = interpreter_.budget_.limits().depth;
    if (interpreter_.depth_ >= limit) throw Fault("blocks and macros nested deeper than {}", limit);
    ++interpreter_.depth_;
  }
  ~Depth() { --interpreter_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Interpreter& interpreter_;
};

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return &found->second;
  }
  return nullptr;
}

Value make_function(std::string name, Function::Body body) {
  return Value(std::shared_ptr<Object>(std::make_shared<Function>(std::move(name), std::move(body))));
}

std::optional<Value> Namespace::attribute(Interpreter&, std::string_view name) {
  const auto found = values.find(name);
  if (found == values.end()) return std::nullopt;
  return found->second;
}

std::optional<Value> Generator::take_first() {
  if (items_.empty()) return std::nullopt;
  std::optional<Value> first(items_.front());
  items_.erase(items_.begin());
  return first;
}

Value make_generator(std::vector<Value> items, Budget& budget) {
  budget.make_items(items.size());
  return Value(std::shared_ptr<Object>(std::make_shared<Generator>(std::move(items))));
}

Interpreter::Interpreter(const Limits& limits, const base::OrderedJson& variables)
    : budget_(limits), scope_(std::make_shared<Scope>()) {
  for (const auto& [name, value] : variables.items()) scope_->variables[name] = from_json(value, budget_);
  // A template's own `set` goes into a scope of its own, in front of what the caller gave.
  push_scope();
}

Interpreter::~Interpreter() {
  for (const auto& space : namespaces_) {
    const auto emptied = std::exchange(space->values, {});
  }
  for (const auto& scope : kept_) scope->variables.clear();
}

Rendered Interpreter::run(const Syntax& syntax) {
  output_ = &rendered_.text;
  execute(syntax.body);
  return std::move(rendered_);
}

std::shared_ptr<Namespace> Interpreter::new_namespace() {
  budget_.make_items(namespaces_.size() / 64 + 1);
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

void Interpreter::push_scope() {
  auto inner = std::make_shared<Scope>();
  inner->parent = scope_;
  scope_ = std::move(inner);
}

void Interpreter::write(std::string_view text) {
  if (output_->size() + text.size() > budget_.limits().output_bytes)
    throw Fault("the template writes more than {} bytes", budget_.limits().output_bytes);
  budget_.spend(text.size() / 64);
  *output_ += text;
}

Interpreter::Flow Interpreter::execute(const Block& block) {
  const Depth depth(*this);
  for (const auto& statement : block) {
    budget_.spend();
    line_ = statement->line;
    const Flow flow = execute(*statement);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
  switch (statement.kind) {
    case StatementKind::text:
      write(statement.text);
      break;
    case StatementKind::output: {
      const Value value = evaluate(*statement.expression);
      if (value.is(Kind::string)) {
        write(value.string());
      } else {
        budget_.spend(weight_of(value));
        write(to_text(value));
      }
      break;
    }
    case StatementKind::conditional:
      return execute_if(statement);
    case StatementKind::loop:
      return execute_for(statement);
    case StatementKind::assign:
      assign(statement.target, evaluate(*statement.expression));
      break;
    case StatementKind::capture:
    case StatementKind::filter_block: {
      Value text(capture(statement.body));
      if (statement.expression) {
        const Value outer = std::exchange(filter_input_, text);
        text = evaluate(*statement.expression);
        filter_input_ = outer;
      }
      if (statement.kind == StatementKind::capture) {
        assign(statement.target, text);
      } else {
        write(to_text(text));
      }
      break;
    }
    case StatementKind::macro:
      scope_->variables[statement.macro->name] = macro_value(*statement.macro);
      break;
    case StatementKind::call_block:
      execute_call_block(statement);
      break;
    case StatementKind::with:
      return execute_with(statement);
    case StatementKind::generation:
      execute_generation(statement);
      break;
    case StatementKind::evaluate:
      evaluate(*statement.expression);
      break;
    case StatementKind::break_loop:
      return Flow::break_loop;
    case StatementKind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute_if(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (!branch.condition || truth(evaluate(*branch.condition))) return execute(branch.body);
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute_for(const Statement& statement) {
  auto items = std::make_shared<std::vector<Value>>(iterate(evaluate(*statement.expression)));
  const auto outer_scope = scope_;
  if (statement.filter) {
    std::vector<Value> kept;
    for (const Value& item : *items) {
      push_scope();
      assign(statement.target, item);
      if (truth(evaluate(*statement.filter))) kept.push_back(item);
      scope_ = outer_scope;
    }
    *items = std::move(kept);
  }
  const auto loop = std::make_shared<Loop>(items);
  Flow flow = Flow::next;
  for (size_t index = 0; index < items->size() && flow != Flow::break_loop; ++index) {
    budget_.spend();
    loop->move_to(index);
    push_scope();
    scope_->variables["loop"] = Value(std::shared_ptr<Object>(loop));
    assign(statement.target, (*items)[index]);
    flow = execute(statement.body);
    scope_ = outer_scope;
  }
  if (items->empty()) {
    push_scope();
    flow = execute(statement.else_body);
    scope_ = outer_scope;
    return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute_with(const Statement& statement) {
  const auto outer = scope_;
  std::vector<Value> values;
  for (const auto& [target, expression] : statement.assignments) values.push_back(evaluate(*expression));
  push_scope();
  for (size_t index = 0; index < values.size(); ++index) assign(statement.assignments[index].first, values[index]);
  const Flow flow = execute(statement.body);
  scope_ = outer;
  return flow;
}

void Interpreter::execute_call_block(const Statement& statement) {
  const Expression& call_node = *statement.expression;
  const Value callee = evaluate(*call_node.operands[0]);
  Arguments arguments = evaluate_arguments(call_node.arguments);
  arguments.named.emplace_back("caller", macro_value(*statement.macro));
  write(to_text(call(callee, arguments)));
}

void Interpreter::execute_generation(const Statement& statement) {
  const auto outer = scope_;
  push_scope();
  const size_t begin = output_->size();
  execute(statement.body);
  if (output_ == &rendered_.text) rendered_.generation.push_back({begin, output_->size()});
  scope_ = outer;
}

std::string Interpreter::capture(const Block& block) {
  std::string text;
  std::string* outer = std::exchange(output_, &text);
  const auto outer_scope = scope_;
  push_scope();
  execute(block);
  scope_ = outer_scope;
  output_ = outer;
  budget_.make_text(text.size());
  return text;
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    const std::vector<Value> items = iterate(value);
    if (items.size() != target.parts.size())
      throw Fault("{} values cannot be assigned to {} names", items.size(), target.parts.size());
    for (size_t index = 0; index < items.size(); ++index) assign(target.parts[index], items[index]);
    return;
  }
  if (target.attribute.empty()) {
    scope_->variables[target.name] = value;
    return;
  }
  const Value owner = look_up(target.name);
  auto* space = owner.is(Kind::object) ? dynamic_cast<Namespace*>(&owner.object()) : nullptr;
  if (space == nullptr) throw Fault("'{}' is no namespace, so its attributes cannot be set", target.name);
  if (target.attribute.starts_with("_")) throw Fault("the attribute '{}' begins with '_'", target.attribute);
  space->values[target.attribute] = value;
}

Value Interpreter::macro_value(const Macro& macro) {
  if (kept_.empty() || kept_.back() != scope_) {
    budget_.make_items(kept_.size() / 64 + 1);
    kept_.push_back(scope_);
  }
  return Value(std::shared_ptr<Object>(std::make_shared<MacroObject>(macro, scope_)));
}

Value Interpreter::call_macro(const Macro& macro, const std::shared_ptr<Scope>& scope, const Arguments& arguments) {
  const Depth depth(*this);
  const auto outer_scope = std::exchange(scope_, scope);
  const size_t line = line_;
  push_scope();
  auto& variables = scope_->variables;
  const size_t count = macro.parameters.size(), given = arguments.positional.size();
  if (given > count && !macro.uses_varargs)
    throw Fault("the macro '{}' takes at most {} arguments and was given {}", macro.name, count, given);
  for (size_t index = 0; index < std::min(count, given); ++index)
    variables[macro.parameters[index]] = arguments.positional[index];
  Dict more;
  for (const auto& [name, value] : arguments.named) {
    if (std::ranges::find(macro.parameters, name) != macro.parameters.end()) {
      if (!variables.try_emplace(name, value).second)
        throw Fault("the macro '{}' was given the argument '{}' twice", macro.name, name);
    } else if (name == "caller" && macro.uses_caller) {
      variables[name] = value;
    } else if (macro.uses_kwargs) {
      more.set(Value(name), value);
    } else {
      throw Fault("the macro '{}' has no argument named '{}'", macro.name, name);
    }
  }
  for (size_t index = 0; index < count; ++index) {
    const std::string& name = macro.parameters[index];
    if (variables.contains(name)) continue;
    const size_t first_default = count - macro.defaults.size();
    variables[name] = index >= first_default ? evaluate(*macro.defaults[index - first_default])
                                             : Value::undefined(fmt::format("parameter '{}' was not given", name));
  }
  if (macro.uses_varargs) {
    variables["varargs"] = make_tuple(
        {arguments.positional.begin() + static_cast<int64_t>(std::min(count, given)), arguments.positional.end()},
        budget_);
  }
  if (macro.uses_kwargs) variables["kwargs"] = make_dict(std::move(more), budget_);
  if (macro.uses_caller) variables.try_emplace("caller", Value::undefined("no caller defined"));
  std::string text = capture(macro.body);
  scope_ = outer_scope;
  line_ = line;
  return Value(std::move(text));
}

}  // namespace fledge::nn::jinja
