// Filters on numbers.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/operators.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

std::optional<int64_t> parse_integer(std::string_view text, int base) {
  text = strip(text, true, true);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && prefix == base) text.remove_prefix(2);
  }
  std::string digits;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '_' && at > 0 && text[at - 1] != '_' && at + 1 < text.size()) continue;
    digits += text[at];
  }
  uint64_t value = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || fault == std::errc::invalid_argument || end != digits.data() + digits.size())
    return std::nullopt;
  if (fault != std::errc() || value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    throw Fault("an integer beyond 64 bits");
  return negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text, true, true);
  const std::string word = lower(text);
  const bool negative = word.starts_with('-');
  const std::string_view bare = std::string_view(word).substr(negative || word.starts_with('+') ? 1 : 0);
  if (bare == "inf" || bare == "infinity") return negative ? -HUGE_VAL : HUGE_VAL;
  if (bare == "nan") return std::nan("");
  std::string digits(bare);
  std::erase(digits, '_');
  double value = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || digits[0] == '-' || end != digits.data() + digits.size() ||
      fault == std::errc::invalid_argument)
    return std::nullopt;
  if (fault == std::errc::result_out_of_range) value = std::strtod(digits.c_str(), nullptr);
  return negative ? -value : value;
}

std::optional<Value> truncated(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (std::abs(number) >= 9.2e18) throw Fault("an integer beyond 64 bits");
  return Value(static_cast<int64_t>(number));
}

Value to_int(Interpreter&, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("int", {"default", "base"});
  const Value fallback = bound[0].value_or(Value(0));
  const int64_t base = bound[1] ? to_integer(*bound[1], "the base of int") : 10;
  if (base < 2 || base > 36) throw Fault("the base of int is {} and not between 2 and 36", base);
  require_defined(value);
  if (value.is(Kind::floating)) return truncated(value.number()).value_or(fallback);
  if (value.is_number()) return Value(value.integer());
  if (!value.is(Kind::string)) return fallback;
  if (const auto number = parse_integer(value.string(), static_cast<int>(base))) return Value(*number);
  if (const auto number = parse_float(value.string())) return truncated(*number).value_or(fallback);
  return fallback;
}

Value to_float(Interpreter&, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("float", {"default"});
  const Value fallback = bound[0].value_or(Value(0.0));
  require_defined(value);
  if (value.is_number()) return Value(value.number());
  if (!value.is(Kind::string)) return fallback;
  const auto number = parse_float(value.string());
  return number ? Value(*number) : fallback;
}

Value absolute(Interpreter&, const Value& value, const Arguments&) {
  if (value.is(Kind::floating)) return Value(std::abs(value.number()));
  return to_integer(value, "the value of abs") < 0 ? negated(value) : Value(value.integer());
}

/// Python's round(): the decimal number nearest to the exact value, halves to even.
double rounded(double number, int64_t precision) {
  if (!std::isfinite(number)) return number;
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::isfinite(unit) ? std::nearbyint(number / unit) * unit : 0.0;
  }
  char buffer[512];
  const int size =
      std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(std::min<int64_t>(precision, 60)), number);
  return size > 0 && static_cast<size_t>(size) < sizeof(buffer) ? std::strtod(buffer, nullptr) : number;
}

Value round_filter(Interpreter&, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("round", {"precision", "method"});
  const int64_t precision = bound[0] ? to_integer(*bound[0], "the precision of round") : 0;
  const std::string method = bound[1] ? to_string(*bound[1], "the method of round") : "common";
  if (!value.is_number()) throw Fault("round needs a number and not a {}", type_name(require_defined(value)));
  if (method == "common") {
    if (value.is(Kind::floating)) return Value(rounded(value.number(), precision));
    if (precision >= 0) return Value(value.integer());
    return Value(static_cast<int64_t>(rounded(value.number(), precision)));
  }
  if (method != "ceil" && method != "floor") throw Fault("the method of round is common, ceil or floor");
  const double unit = std::pow(10.0, static_cast<double>(precision)), scaled = value.number() * unit;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

}  // namespace

void add_number_filters(FilterTable& table) {
  table["int"] = to_int;
  table["float"] = to_float;
  table["abs"] = absolute;
  table["round"] = round_filter;
}

}  // namespace fledge::nn::jinja
