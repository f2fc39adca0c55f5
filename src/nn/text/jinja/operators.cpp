#include "nn/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

[[noreturn]] void too_large() {
  throw Fault("an integer beyond 64 bits");
}

[[noreturn]] void unsupported(std::string_view name, const Value& a, const Value& b) {
  throw Fault("'{}' is not supported between a {} and a {}", name, type_name(a), type_name(b));
}

int64_t floor_divided(int64_t a, int64_t b) {
  if (b == 0) throw Fault("a division by zero");
  if (b == -1) {
    if (a == std::numeric_limits<int64_t>::min()) too_large();
    return -a;
  }
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t modulo(int64_t a, int64_t b) {
  if (b == 0) throw Fault("a division by zero");
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (int64_t step = 0; step < exponent; ++step) {
    if (__builtin_mul_overflow(result, base, &result)) too_large();
  }
  return result;
}

Value integer_arithmetic(std::string_view name, int64_t a, int64_t b) {
  int64_t result = 0;
  if (name == "+") {
    if (__builtin_add_overflow(a, b, &result)) too_large();
    return Value(result);
  }
  if (name == "-") {
    if (__builtin_sub_overflow(a, b, &result)) too_large();
    return Value(result);
  }
  if (name == "*") {
    if (__builtin_mul_overflow(a, b, &result)) too_large();
    return Value(result);
  }
  if (name == "/") {
    if (b == 0) throw Fault("a division by zero");
    return Value(static_cast<double>(a) / static_cast<double>(b));
  }
  if (name == "//") return Value(floor_divided(a, b));
  if (name == "%") return Value(modulo(a, b));
  if (b < 0) {
    if (a == 0) throw Fault("a division by zero");
    return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
  return Value(power(a, b));
}

Value float_arithmetic(std::string_view name, double a, double b) {
  if (name == "+") return Value(a + b);
  if (name == "-") return Value(a - b);
  if (name == "*") return Value(a * b);
  if (name == "**") {
    if (a == 0 && b < 0) throw Fault("a division by zero");
    return Value(std::pow(a, b));
  }
  if (b == 0) throw Fault("a division by zero");
  if (name == "/") return Value(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (name == "%") return Value(rest);
  return Value(std::floor((a - rest) / b + 0.5));
}

Value repeated(const Value& value, int64_t times, Budget& budget) {
  const size_t count = times < 0 ? 0 : static_cast<size_t>(times);
  if (value.is(Kind::string)) {
    const std::string& part = value.string();
    size_t bytes = 0;
    if (__builtin_mul_overflow(part.size(), count, &bytes)) bytes = std::numeric_limits<size_t>::max();
    budget.make_text(bytes);
    std::string text;
    text.reserve(bytes);
    for (size_t index = 0; index < count && !part.empty(); ++index) text += part;
    return Value(std::move(text));
  }
  size_t size = 0;
  if (__builtin_mul_overflow(value.items().size(), count, &size)) size = std::numeric_limits<size_t>::max();
  budget.make_items(size);
  std::vector<Value> items;
  for (size_t index = 0; index < count && size > 0; ++index)
    items.insert(items.end(), value.items().begin(), value.items().end());
  return value.is(Kind::tuple) ? make_tuple(std::move(items), budget) : make_list(std::move(items), budget);
}

Value joined(const Value& a, const Value& b, Budget& budget) {
  if (a.is(Kind::string)) {
    budget.make_text(a.string().size() + b.string().size());
    return Value(a.string() + b.string());
  }
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::tuple) ? make_tuple(std::move(items), budget) : make_list(std::move(items), budget);
}

struct Bounds {
  int64_t start, stop, step;
};

/// PySlice_AdjustIndices.
Bounds adjusted(const Value& start, const Value& stop, const Value& step, int64_t length) {
  const auto read = [](const Value& value, const char* what) {
    if (value.is(Kind::integer) || value.is(Kind::boolean)) return value.integer();
    throw Fault("the {} of a slice is a {} and not an integer", what, type_name(require_defined(value)));
  };
  Bounds bounds{0, 0, step.is(Kind::none) ? 1 : read(step, "step")};
  if (bounds.step == 0) throw Fault("the step of a slice is zero");
  bounds.step = std::max(bounds.step, -std::numeric_limits<int64_t>::max());
  const bool back = bounds.step < 0;
  const auto place = [&](const Value& value, const char* what, int64_t missing) {
    if (value.is(Kind::none)) return missing;
    int64_t index = read(value, what);
    if (index < 0) index = std::max<int64_t>(index + length, back ? -1 : 0);
    return std::min(index, back ? length - 1 : length);
  };
  bounds.start = place(start, "start", back ? length - 1 : 0);
  bounds.stop = place(stop, "end", back ? -1 : length);
  return bounds;
}

template <typename Item>
std::vector<Item> taken(const std::vector<Item>& items, const Bounds& bounds) {
  std::vector<Item> result;
  int64_t at = bounds.start;
  while (bounds.step > 0 ? at < bounds.stop : at > bounds.stop) {
    result.push_back(items[static_cast<size_t>(at)]);
    if (__builtin_add_overflow(at, bounds.step, &at)) break;
  }
  return result;
}

}  // namespace

Value arithmetic(std::string_view name, const Value& a, const Value& b, Budget& budget) {
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::floating) || b.is(Kind::floating)) return float_arithmetic(name, a.number(), b.number());
    return integer_arithmetic(name, a.integer(), b.integer());
  }
  const auto repeats = [](const Value& text, const Value& count) {
    return (text.is(Kind::string) || text.is_sequence()) && (count.is(Kind::integer) || count.is(Kind::boolean));
  };
  if (name == "*" && repeats(a, b)) return repeated(a, b.integer(), budget);
  if (name == "*" && repeats(b, a)) return repeated(b, a.integer(), budget);
  if (name == "+" && a.kind() == b.kind() && (a.is(Kind::string) || a.is_sequence())) return joined(a, b, budget);
  unsupported(name, a, b);
}

Value negated(const Value& value) {
  require_defined(value);
  if (value.is(Kind::floating)) return Value(-value.number());
  if (!value.is_number()) throw Fault("'-' is not supported for a {}", type_name(value));
  if (value.integer() == std::numeric_limits<int64_t>::min()) too_large();
  return Value(-value.integer());
}

bool compare(std::string_view name, const Value& a, const Value& b, Budget& budget) {
  budget.spend(std::min(weight_of(a), weight_of(b)));
  if (name == "==") return equal(a, b);
  if (name == "!=") return !equal(a, b);
  const bool nan = (a.is(Kind::floating) && std::isnan(a.number())) || (b.is(Kind::floating) && std::isnan(b.number()));
  if (name == "<") return less(a, b);
  if (name == ">") return less(b, a);
  if (name == "<=") return !less(b, a) && !nan;
  return !less(a, b) && !nan;
}

Value slice(const Value& sequence, const Value& start, const Value& stop, const Value& step, Budget& budget) {
  if (sequence.is_sequence()) {
    const Bounds bounds = adjusted(start, stop, step, static_cast<int64_t>(sequence.items().size()));
    std::vector<Value> items = taken(sequence.items(), bounds);
    return sequence.is(Kind::tuple) ? make_tuple(std::move(items), budget) : make_list(std::move(items), budget);
  }
  if (sequence.is(Kind::string)) {
    budget.make_text(sequence.string().size());
    const std::vector<char32_t> points = code_points(sequence.string());
    return Value(from_code_points(taken(points, adjusted(start, stop, step, static_cast<int64_t>(points.size())))));
  }
  throw Fault("a {} cannot be sliced", type_name(require_defined(sequence)));
}

}  // namespace fledge::nn::jinja
