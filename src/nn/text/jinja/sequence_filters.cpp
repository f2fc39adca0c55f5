// Filters on lists and dicts.
#include <algorithm>

#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/operators.h"
#include "nn/text/jinja/tests.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

/// item.a.0.b: the parts of a dotted path, one after the other, with `fallback` for what is undefined; without a path
/// the item itself.
Value follow(Interpreter& interpreter, Value value, const std::optional<Value>& path,
             const std::optional<Value>& fallback = std::nullopt) {
  if (!path || path->is(Kind::none)) return value;
  if (path->is(Kind::integer)) return interpreter.item(value, *path);
  for (const std::string& part : split(to_string(*path, "the name of an attribute"), ".", -1)) {
    const bool is_index =
        !part.empty() && part.size() < 10 && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    value = interpreter.item(value, is_index ? Value(static_cast<int64_t>(std::stoul(part))) : Value(part));
    if (fallback && value.is(Kind::undefined)) value = *fallback;
  }
  return value;
}

Value without_case(const Value& value) {
  return value.is(Kind::string) ? Value(lower(value.string())) : value;
}

bool flag(const std::optional<Value>& value) {
  return value && truth(*value);
}

/// Stable, by keys; a Fault of a comparison comes out before std::stable_sort sees half an order.
void sort_by(std::vector<std::pair<Value, Value>>& keyed, bool reverse, Budget& budget) {
  std::ranges::stable_sort(keyed, [&](const auto& a, const auto& b) {
    return reverse ? compare("<", b.first, a.first, budget) : compare("<", a.first, b.first, budget);
  });
}

std::vector<Value> second_of(std::vector<std::pair<Value, Value>>& keyed) {
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return items;
}

Value sort_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : interpreter.iterate(value)) {
    std::vector<Value> keys;
    if (bound[2] && bound[2]->is(Kind::string)) {
      for (const std::string& path : split(bound[2]->string(), ",", -1))
        keys.push_back(follow(interpreter, item, Value(path)));
    } else {
      keys.push_back(follow(interpreter, item, bound[2]));
    }
    if (!flag(bound[1])) std::ranges::transform(keys, keys.begin(), without_case);
    keyed.emplace_back(make_tuple(std::move(keys), interpreter.budget()), item);
  }
  sort_by(keyed, flag(bound[0]), interpreter.budget());
  return make_list(second_of(keyed), interpreter.budget());
}

Value dict_sort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("dictsort", {"case_sensitive", "by", "reverse"});
  if (!value.is(Kind::dict)) throw Fault("dictsort needs a dict and not a {}", type_name(require_defined(value)));
  const bool by_value = bound[1] && to_text(*bound[1]) == "value";
  if (bound[1] && !by_value && to_text(*bound[1]) != "key") throw Fault("dictsort sorts by 'key' or by 'value'");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, entry] : value.dict().entries) {
    const Value& by = by_value ? entry : key;
    keyed.emplace_back(flag(bound[0]) ? by : without_case(by), make_tuple({key, entry}, interpreter.budget()));
  }
  sort_by(keyed, flag(bound[2]), interpreter.budget());
  return make_list(second_of(keyed), interpreter.budget());
}

Value group_by(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("groupby", {"attribute", "default", "case_sensitive"}, 1);
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : interpreter.iterate(value)) {
    Value key = follow(interpreter, item, bound[0]);
    if (key.is(Kind::undefined) && bound[1]) key = *bound[1];
    keyed.emplace_back(key, item);
  }
  const auto folded = [&](const Value& key) { return flag(bound[2]) ? key : without_case(key); };
  std::ranges::stable_sort(keyed, [&](const auto& a, const auto& b) {
    return compare("<", folded(a.first), folded(b.first), interpreter.budget());
  });
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    size_t end = begin;
    while (end < keyed.size() && equal(folded(keyed[end].first), folded(keyed[begin].first)))
      members.push_back(keyed[end++].second);
    groups.push_back(
        make_tuple({keyed[begin].first, make_list(std::move(members), interpreter.budget())}, interpreter.budget()));
    begin = end;
  }
  return make_list(std::move(groups), interpreter.budget());
}

Value unique(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("unique", {"case_sensitive", "attribute"});
  std::vector<Value> kept;
  Dict seen;
  for (const Value& item : interpreter.iterate(value)) {
    const Value found = follow(interpreter, item, bound[1]), key = flag(bound[0]) ? found : without_case(found);
    interpreter.budget().spend(weight_of(key));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, Value(true));
    kept.push_back(item);
  }
  return make_generator(std::move(kept), interpreter.budget());
}

template <bool largest>
Value extreme(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(largest ? "max" : "min", {"case_sensitive", "attribute"});
  const std::vector<Value> items = interpreter.iterate(value);
  if (items.empty()) return Value::undefined("there is no largest or smallest of no items");
  const auto key = [&](const Value& item) {
    const Value found = follow(interpreter, item, bound[1]);
    return flag(bound[0]) ? found : without_case(found);
  };
  const Value* best = &items[0];
  Value best_key = key(items[0]);
  for (const Value& item : items) {
    const Value other = key(item);
    if (!compare("<", largest ? best_key : other, largest ? other : best_key, interpreter.budget())) continue;
    best = &item;
    best_key = other;
  }
  return *best;
}

Value sum(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("sum", {"attribute", "start"});
  Value total = bound[1].value_or(Value(0));
  for (const Value& item : interpreter.iterate(value))
    total = arithmetic("+", total, follow(interpreter, item, bound[0]), interpreter.budget());
  return total;
}

Value join(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("join", {"d", "attribute"});
  const std::string separator = bound[0] ? to_text(*bound[0]) : "";
  std::string text;
  bool first = true;
  for (const Value& item : interpreter.iterate(value)) {
    const std::string part = to_text(follow(interpreter, item, bound[1]));
    interpreter.budget().make_text(part.size() + separator.size());
    if (!first) text += separator;
    text += part;
    first = false;
  }
  return Value(std::move(text));
}

Value length(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is(Kind::string)) return Value(static_cast<int64_t>(text_length(value.string())));
  if (value.is(Kind::dict)) return Value(static_cast<int64_t>(value.dict().entries.size()));
  if (value.is_sequence() || value.is(Kind::undefined))
    return Value(static_cast<int64_t>(interpreter.iterate(value).size()));
  throw Fault("a {} has no length", type_name(value));
}

Value first(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is(Kind::object)) {
    if (auto* generator = dynamic_cast<Generator*>(&value.object())) {
      auto item = generator->take_first();
      return item ? *item : Value::undefined("no first item, the sequence was empty");
    }
  }
  const std::vector<Value> items = interpreter.iterate(value);
  return items.empty() ? Value::undefined("no first item, the sequence was empty") : items.front();
}

Value last(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is(Kind::object)) throw Fault("a {} cannot be read from its end", type_name(value));
  const std::vector<Value> items = interpreter.iterate(value);
  return items.empty() ? Value::undefined("no last item, the sequence was empty") : items.back();
}

Value reverse(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is(Kind::string)) {
    std::vector<char32_t> points = code_points(value.string());
    std::ranges::reverse(points);
    return Value(from_code_points(points));
  }
  std::vector<Value> items = interpreter.iterate(value);
  std::ranges::reverse(items);
  return make_generator(std::move(items), interpreter.budget());
}

Value items_filter(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is(Kind::undefined)) return make_generator({}, interpreter.budget());
  if (!value.is(Kind::dict)) throw Fault("items needs a dict and not a {}", type_name(value));
  std::vector<Value> pairs;
  for (const auto& [key, entry] : value.dict().entries) pairs.push_back(make_tuple({key, entry}, interpreter.budget()));
  return make_generator(std::move(pairs), interpreter.budget());
}

Value default_filter(Interpreter&, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("default", {"default_value", "boolean"});
  if (value.is(Kind::undefined) || (flag(bound[1]) && !truth(value))) return bound[0].value_or(Value(""));
  return value;
}

Value batch(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("batch", {"linecount", "fill_with"}, 1);
  const int64_t count = to_integer(*bound[0], "the size of batch");
  if (count < 1) throw Fault("the size of batch is {} and not at least 1", count);
  const auto size = static_cast<size_t>(count);
  std::vector<Value> lists, current;
  for (const Value& item : interpreter.iterate(value)) {
    if (current.size() == size) lists.push_back(make_list(std::exchange(current, {}), interpreter.budget()));
    current.push_back(item);
  }
  if (!current.empty()) {
    if (bound[1] && !bound[1]->is(Kind::none) && current.size() < size) {
      interpreter.budget().make_items(size);
      current.resize(size, *bound[1]);
    }
    lists.push_back(make_list(std::move(current), interpreter.budget()));
  }
  return make_generator(std::move(lists), interpreter.budget());
}

Value attribute_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const std::string name = to_string(*arguments.bind("attr", {"name"}, 1)[0], "the argument of attr");
  require_defined(value);
  if (const auto method = find_method(value, name)) return *method;
  if (value.is(Kind::object)) {
    if (auto found = value.object().attribute(interpreter, name)) return *found;
  }
  return Value::undefined(fmt::format("'{} object' has no attribute '{}'", type_name(value), name));
}

/// map(attribute='a.b', default=x) or map('filter', arguments...).
Value map_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  std::vector<Value> items = interpreter.iterate(value);
  if (arguments.positional.empty()) {
    std::optional<Value> attribute, fallback;
    for (const auto& [name, argument] : arguments.named) {
      if (name != "attribute" && name != "default") throw Fault("map has no argument named '{}'", name);
      (name == "attribute" ? attribute : fallback) = argument;
    }
    if (!attribute) throw Fault("map needs the name of a filter, or attribute=");
    for (Value& item : items) item = follow(interpreter, item, attribute, fallback);
  } else {
    const std::string name = to_string(arguments.positional[0], "the name of a filter");
    const Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
    for (Value& item : items) item = interpreter.apply_filter(name, item, rest);
  }
  return make_generator(std::move(items), interpreter.budget());
}

/// select, reject, selectattr and rejectattr.
template <bool keeps, bool by_attribute>
Value select(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const size_t skipped = by_attribute ? 1 : 0;
  if (arguments.positional.size() < skipped) throw Fault("selectattr and rejectattr need the name of an attribute");
  const std::optional<Value> path =
      by_attribute ? std::optional<Value>(arguments.positional[0]) : std::optional<Value>();
  std::string test;
  Arguments rest;
  if (arguments.positional.size() > skipped) {
    test = to_string(arguments.positional[skipped], "the name of a test");
    rest.positional.assign(arguments.positional.begin() + skipped + 1, arguments.positional.end());
    rest.named = arguments.named;
  }
  std::vector<Value> kept;
  for (const Value& item : interpreter.iterate(value)) {
    const Value tested = follow(interpreter, item, path);
    if ((test.empty() ? truth(tested) : interpreter.apply_test(test, tested, rest)) == keeps) kept.push_back(item);
  }
  return make_generator(std::move(kept), interpreter.budget());
}

}  // namespace

void add_sequence_filters(FilterTable& table) {
  table["sort"] = sort_filter;
  table["dictsort"] = dict_sort;
  table["groupby"] = group_by;
  table["unique"] = unique;
  table["min"] = extreme<false>;
  table["max"] = extreme<true>;
  table["sum"] = sum;
  table["join"] = join;
  table["length"] = table["count"] = length;
  table["first"] = first;
  table["last"] = last;
  table["reverse"] = reverse;
  table["items"] = items_filter;
  table["default"] = table["d"] = default_filter;
  table["batch"] = batch;
  table["attr"] = attribute_filter;
  table["map"] = map_filter;
  table["select"] = select<true, false>;
  table["reject"] = select<false, false>;
  table["selectattr"] = select<true, true>;
  table["rejectattr"] = select<false, true>;
  table["list"] = [](Interpreter& i, const Value& v, const Arguments&) { return make_list(i.iterate(v), i.budget()); };
}

}  // namespace fledge::nn::jinja
