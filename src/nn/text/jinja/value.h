#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json_fwd.h"
#include "nn/text/jinja/budget.h"

namespace fledge::nn::jinja {

class Interpreter;
class Value;
struct Arguments;
struct List;
struct Dict;

enum class Kind : uint8_t { undefined, none, boolean, integer, floating, string, list, tuple, dict, object };

/// Something with behaviour: a function, a macro, a namespace, the variable `loop`, a generator.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, const Arguments& arguments);
  virtual std::optional<Value> attribute(Interpreter& interpreter, std::string_view name);
  /// The items that are left, where the object can be iterated over; they are then gone.
  virtual std::optional<std::vector<Value>> take_items();
};

/// A value of the language: Python's None, bool, int (64 bits), float, str, list, tuple and dict, Jinja's Undefined,
/// and objects. Copying is cheap; lists, dicts and strings are shared and never change.
class Value {
 public:
  Value() = default;  ///< None
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(int value) : data_(int64_t{value}) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(std::shared_ptr<const List> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Dict> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Object> value) : data_(std::move(value)) {}

  /// `complaint`: what an error says where the value is used in earnest, such as "'x' is undefined".
  static Value undefined(std::string complaint);

  Kind kind() const;
  bool is(Kind kind) const { return this->kind() == kind; }
  bool is_sequence() const { return is(Kind::list) || is(Kind::tuple); }
  bool is_number() const { return is(Kind::integer) || is(Kind::floating) || is(Kind::boolean); }

  bool boolean() const { return std::get<bool>(data_); }
  /// Of an integer or a boolean.
  int64_t integer() const;
  /// Of any number.
  double number() const;
  const std::string& string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const std::vector<Value>& items() const;  ///< of a list or tuple
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(data_); }
  const std::shared_ptr<Object>& shared_object() const { return std::get<std::shared_ptr<Object>>(data_); }
  const std::string& complaint() const;

 private:
  struct Undefined {
    std::shared_ptr<const std::string> complaint;
  };
  std::variant<std::monostate, Undefined, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>
      data_;
};

/// `weight` counts what is inside: one for each value and one for each 64 bytes of text. It is bounded, and so is the
/// depth, so that walking through a value is too, although parts may be shared.
struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  std::string_view view;  ///< "dict_keys" and the like, for printing
  size_t weight = 1, depth = 1;
};

/// Keeps the order of insertion, as Python's.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  size_t weight = 1, depth = 1;

  void set(const Value& key, Value value);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

 private:
  std::unordered_map<std::string, size_t> index_;
};

Value make_list(std::vector<Value> items, Budget& budget, std::string_view view = {});
Value make_tuple(std::vector<Value> items, Budget& budget);
/// Takes a dict that was filled with set(); checks its size and depth.
Value make_dict(Dict dict, Budget& budget);

/// Bytes that are not UTF-8 become U+FFFD; integers beyond 64 bits become floats.
Value from_json(const base::OrderedJson& json, Budget& budget);

size_t weight_of(const Value& value);
/// Python's name of the type, for errors.
std::string type_name(const Value& value);
bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
/// a < b as Python has it. Throws Fault for kinds without an order.
bool less(const Value& a, const Value& b);
/// Python's str() and repr().
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
/// Throws Fault with its complaint where the value is undefined.
const Value& require_defined(const Value& value);

struct JsonStyle {
  std::optional<std::string> indent;
  std::string item_separator = ", ", key_separator = ": ";
  bool ensure_ascii = false, sort_keys = false;
};
/// Python's json.dumps.
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

/// What a call passes.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The arguments by the names of the parameters, those that were not passed as nothing. Throws Fault for more, or
  /// for unknown names; the first `required` must be there.
  std::vector<std::optional<Value>> bind(std::string_view function, const std::vector<std::string_view>& parameters,
                                         size_t required = 0) const;
};

}  // namespace fledge::nn::jinja
