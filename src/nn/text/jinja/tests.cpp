#include "nn/text/jinja/tests.h"

#include <algorithm>

#include "nn/text/jinja/operators.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

using Test = bool (*)(Interpreter&, const Value&, const Arguments&);

const Value& only_argument(const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty()) throw Fault("the test needs one argument");
  return arguments.positional[0];
}

template <Kind kind>
bool is_kind(Interpreter&, const Value& value, const Arguments&) {
  return value.is(kind);
}

template <char first, char second = 0>
bool compares(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const char name[] = {first, second, 0};
  return compare(name, value, only_argument(arguments), interpreter.budget());
}

int64_t rest(Interpreter& interpreter, const Value& value, const Value& divisor) {
  const Value result = arithmetic("%", value, divisor, interpreter.budget());
  return result.is(Kind::floating) ? (result.number() == 0 ? 0 : result.number() == 1 ? 1 : 2) : result.integer();
}

bool is_same_case(const Value& value, std::string (*change)(std::string_view)) {
  const std::string text = to_text(value);
  const bool has_letter = lower(text) != upper(text);
  return has_letter && change(text) == text;
}

const std::map<std::string, Test, std::less<>>& tests() {
  static const std::map<std::string, Test, std::less<>> table = {
      {"defined", [](Interpreter&, const Value& v, const Arguments&) { return !v.is(Kind::undefined); }},
      {"undefined", is_kind<Kind::undefined>},
      {"none", is_kind<Kind::none>},
      {"boolean", is_kind<Kind::boolean>},
      {"integer", is_kind<Kind::integer>},
      {"float", is_kind<Kind::floating>},
      {"string", is_kind<Kind::string>},
      {"mapping", is_kind<Kind::dict>},
      {"number", [](Interpreter&, const Value& v, const Arguments&) { return v.is_number(); }},
      {"true", [](Interpreter&, const Value& v, const Arguments&) { return v.is(Kind::boolean) && v.boolean(); }},
      {"false", [](Interpreter&, const Value& v, const Arguments&) { return v.is(Kind::boolean) && !v.boolean(); }},
      {"sequence",
       [](Interpreter&, const Value& v, const Arguments&) {
         if (v.is_sequence()) return v.list().view.empty();
         return v.is(Kind::string) || v.is(Kind::dict) || v.is(Kind::undefined);
       }},
      {"iterable",
       [](Interpreter&, const Value& v, const Arguments&) {
         if (v.is(Kind::object)) return v.object().type_name() == "generator";
         return v.is(Kind::string) || v.is(Kind::dict) || v.is_sequence() || v.is(Kind::undefined);
       }},
      {"callable",
       [](Interpreter&, const Value& v, const Arguments&) {
         return v.is(Kind::undefined) || (v.is(Kind::object) && v.object().callable());
       }},
      {"escaped", [](Interpreter&, const Value&, const Arguments&) { return false; }},
      {"odd", [](Interpreter& i, const Value& v, const Arguments&) { return rest(i, v, Value(2)) == 1; }},
      {"even", [](Interpreter& i, const Value& v, const Arguments&) { return rest(i, v, Value(2)) == 0; }},
      {"divisibleby",
       [](Interpreter& i, const Value& v, const Arguments& a) { return rest(i, v, only_argument(a)) == 0; }},
      {"lower", [](Interpreter&, const Value& v, const Arguments&) { return is_same_case(v, lower); }},
      {"upper", [](Interpreter&, const Value& v, const Arguments&) { return is_same_case(v, upper); }},
      {"in", [](Interpreter& i, const Value& v, const Arguments& a) { return contains(i, only_argument(a), v); }},
      {"sameas", [](Interpreter&, const Value& v,
                    const Arguments& a) { return v.kind() == only_argument(a).kind() && equal(v, only_argument(a)); }},
      {"eq", compares<'=', '='>},
      {"equalto", compares<'=', '='>},
      {"==", compares<'=', '='>},
      {"ne", compares<'!', '='>},
      {"!=", compares<'!', '='>},
      {"lt", compares<'<'>},
      {"lessthan", compares<'<'>},
      {"<", compares<'<'>},
      {"le", compares<'<', '='>},
      {"<=", compares<'<', '='>},
      {"gt", compares<'>'>},
      {"greaterthan", compares<'>'>},
      {">", compares<'>'>},
      {"ge", compares<'>', '='>},
      {">=", compares<'>', '='>},
  };
  return table;
}

}  // namespace

bool run_test(Interpreter& interpreter, const std::string& name, const Value& value, const Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) throw Fault("there is no test '{}'", name);
  return found->second(interpreter, value, arguments);
}

bool contains(Interpreter& interpreter, const Value& container, const Value& item) {
  Budget& budget = interpreter.budget();
  switch (container.kind()) {
    case Kind::string:
      budget.spend(weight_of(container) + weight_of(item));
      if (!item.is(Kind::string)) throw Fault("'in' a str needs a str and not a {}", type_name(require_defined(item)));
      return find_text(container.string(), item.string()) != std::string_view::npos;
    case Kind::dict:
      budget.spend(weight_of(item));
      return container.dict().find(item) != nullptr;
    default:
      break;
  }
  budget.spend(weight_of(container));
  const std::vector<Value> items = interpreter.iterate(container);
  return std::ranges::any_of(items, [&](const Value& other) { return compare("==", other, item, budget); });
}

}  // namespace fledge::nn::jinja
