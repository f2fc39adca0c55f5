#include "nn/text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

constexpr size_t kMaximumNesting = 100;

size_t depth_of(const Value& value) {
  if (value.is_sequence()) return value.list().depth;
  if (value.is(Kind::dict)) return value.dict().depth;
  return 0;
}

void count(const Value& value, size_t& weight, size_t& depth) {
  weight += weight_of(value);
  depth = std::max(depth, depth_of(value) + 1);
}

void check(size_t weight, size_t depth, Budget& budget) {
  if (depth > kMaximumNesting) throw Fault("values nested deeper than {} levels", kMaximumNesting);
  if (weight > budget.limits().items) throw Fault("a list or dict with more than {} items", budget.limits().items);
}

Value make_sequence(std::vector<Value> items, bool is_tuple, std::string_view view, Budget& budget) {
  budget.make_items(items.size());
  auto list = std::make_shared<List>();
  for (const Value& item : items) count(item, list->weight, list->depth);
  check(list->weight, list->depth, budget);
  list->items = std::move(items);
  list->is_tuple = is_tuple;
  list->view = view;
  return Value(std::shared_ptr<const List>(std::move(list)));
}

/// The same text for keys that Python holds equal (1, 1.0 and True).
std::string hash_key(const Value& key) {
  switch (key.kind()) {
    case Kind::string:
      return "s" + key.string();
    case Kind::none:
      return "n";
    case Kind::boolean:
    case Kind::integer:
      return "i" + std::to_string(key.integer());
    case Kind::floating: {
      const double number = key.number();
      if (std::abs(number) < 9e15 && number == std::floor(number))
        return "i" + std::to_string(static_cast<int64_t>(number));
      return "f" + float_text(number);
    }
    case Kind::tuple: {
      std::string text = "t";
      for (const Value& item : key.items()) {
        const std::string part = hash_key(item);
        text += std::to_string(part.size()) + ":" + part;
      }
      return text;
    }
    case Kind::object:
      return "o" + std::to_string(reinterpret_cast<uintptr_t>(&key.object()));
    case Kind::undefined:
      return "u";
    default:
      throw Fault("a {} cannot be the key of a dict", type_name(key));
  }
}

}  // namespace

Value Object::call(Interpreter&, const Arguments&) {
  throw Fault("a {} cannot be called", type_name());
}

std::optional<std::vector<Value>> Object::take_items() {
  return std::nullopt;
}

std::optional<Value> Object::attribute(Interpreter&, std::string_view) {
  return std::nullopt;
}

Value Value::undefined(std::string complaint) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(complaint))};
  return value;
}

Kind Value::kind() const {
  switch (data_.index()) {
    case 0:
      return Kind::none;
    case 1:
      return Kind::undefined;
    case 2:
      return Kind::boolean;
    case 3:
      return Kind::integer;
    case 4:
      return Kind::floating;
    case 5:
      return Kind::string;
    case 6:
      return list().is_tuple ? Kind::tuple : Kind::list;
    case 7:
      return Kind::dict;
    default:
      return Kind::object;
  }
}

int64_t Value::integer() const {
  return is(Kind::boolean) ? int64_t{boolean()} : std::get<int64_t>(data_);
}

double Value::number() const {
  return is(Kind::floating) ? std::get<double>(data_) : static_cast<double>(integer());
}

const std::vector<Value>& Value::items() const {
  return list().items;
}

const std::string& Value::complaint() const {
  return *std::get<Undefined>(data_).complaint;
}

void Dict::set(const Value& key, Value value) {
  const auto [place, is_new] = index_.try_emplace(hash_key(key), entries.size());
  if (is_new) {
    entries.emplace_back(key, std::move(value));
  } else {
    entries[place->second].second = std::move(value);
  }
}

const Value* Dict::find(const Value& key) const {
  const auto found = index_.find(hash_key(key));
  return found == index_.end() ? nullptr : &entries[found->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = index_.find("s" + std::string(key));
  return found == index_.end() ? nullptr : &entries[found->second].second;
}

Value make_list(std::vector<Value> items, Budget& budget, std::string_view view) {
  return make_sequence(std::move(items), false, view, budget);
}

Value make_tuple(std::vector<Value> items, Budget& budget) {
  return make_sequence(std::move(items), true, {}, budget);
}

Value make_dict(Dict dict, Budget& budget) {
  budget.make_items(dict.entries.size());
  dict.weight = dict.depth = 1;
  for (const auto& [key, value] : dict.entries) {
    count(key, dict.weight, dict.depth);
    count(value, dict.weight, dict.depth);
  }
  check(dict.weight, dict.depth, budget);
  return Value(std::shared_ptr<const Dict>(std::make_shared<Dict>(std::move(dict))));
}

namespace {

Value from_json_at(const base::OrderedJson& json, size_t depth, Budget& budget) {
  if (depth > kMaximumNesting) throw Fault("the messages are nested deeper than {} levels", kMaximumNesting);
  switch (json.type()) {
    case base::OrderedJson::value_t::boolean:
      return Value(json.get<bool>());
    case base::OrderedJson::value_t::number_integer:
      return Value(json.get<int64_t>());
    case base::OrderedJson::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return Value(json.get<double>());
      return Value(json.get<int64_t>());
    case base::OrderedJson::value_t::number_float:
      return Value(json.get<double>());
    case base::OrderedJson::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      budget.make_text(text.size());
      return Value(valid_text(text));
    }
    case base::OrderedJson::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(from_json_at(item, depth + 1, budget));
      return make_list(std::move(items), budget);
    }
    case base::OrderedJson::value_t::object: {
      Dict dict;
      for (const auto& [key, value] : json.items())
        dict.set(Value(valid_text(key)), from_json_at(value, depth + 1, budget));
      return make_dict(std::move(dict), budget);
    }
    default:
      return Value();
  }
}

}  // namespace

Value from_json(const base::OrderedJson& json, Budget& budget) {
  return from_json_at(json, 0, budget);
}

size_t weight_of(const Value& value) {
  if (value.is(Kind::string)) return 1 + value.string().size() / 64;
  if (value.is_sequence()) return value.list().weight;
  if (value.is(Kind::dict)) return value.dict().weight;
  return 1;
}

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::floating:
      return "float";
    case Kind::string:
      return "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::object:
      return value.object().type_name();
  }
  return "";
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.integer() != 0;
    case Kind::floating:
      return value.number() != 0;
    case Kind::string:
      return !value.string().empty();
    case Kind::list:
    case Kind::tuple:
      return !value.items().empty();
    case Kind::dict:
      return !value.dict().entries.empty();
    case Kind::object:
      return true;
  }
  return true;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::floating) || b.is(Kind::floating)) return a.number() == b.number();
    return a.integer() == b.integer();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      return a.string() == b.string();
    case Kind::list:
    case Kind::tuple:
      return a.items().size() == b.items().size() && std::ranges::equal(a.items(), b.items(), equal);
    case Kind::dict: {
      if (a.dict().entries.size() != b.dict().entries.size()) return false;
      return std::ranges::all_of(a.dict().entries, [&](const auto& entry) {
        const Value* other = b.dict().find(entry.first);
        return other != nullptr && equal(entry.second, *other);
      });
    }
    default:
      return &a.object() == &b.object();
  }
}

bool less(const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::floating) || b.is(Kind::floating)) return a.number() < b.number();
    return a.integer() < b.integer();
  }
  // Bytes of UTF-8 sort as the code points do.
  if (a.is(Kind::string) && b.is(Kind::string)) return a.string() < b.string();
  if (a.is_sequence() && a.kind() == b.kind()) {
    for (size_t index = 0; index < std::min(a.items().size(), b.items().size()); ++index) {
      if (!equal(a.items()[index], b.items()[index])) return less(a.items()[index], b.items()[index]);
    }
    return a.items().size() < b.items().size();
  }
  throw Fault("'<' is not supported between a {} and a {}", type_name(a), type_name(b));
}

const Value& require_defined(const Value& value) {
  if (value.is(Kind::undefined)) throw Fault("{}", value.complaint());
  return value;
}

std::vector<std::optional<Value>> Arguments::bind(std::string_view function,
                                                  const std::vector<std::string_view>& parameters,
                                                  size_t required) const {
  if (positional.size() > parameters.size())
    throw Fault("{} takes at most {} arguments and was given {}", function, parameters.size(), positional.size());
  std::vector<std::optional<Value>> bound(parameters.size());
  for (size_t index = 0; index < positional.size(); ++index) bound[index] = positional[index];
  for (const auto& [name, value] : named) {
    const auto place = std::ranges::find(parameters, name);
    if (place == parameters.end()) throw Fault("{} has no argument named '{}'", function, name);
    auto& slot = bound[static_cast<size_t>(place - parameters.begin())];
    if (slot) throw Fault("{} was given the argument '{}' twice", function, name);
    slot = value;
  }
  for (size_t index = 0; index < required; ++index) {
    if (!bound[index]) throw Fault("{} needs the argument '{}'", function, parameters[index]);
  }
  return bound;
}

}  // namespace fledge::nn::jinja
