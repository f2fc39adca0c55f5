// Python's two ways of formatting: "%5.2f" % value and "{:>5}".format(value).
#include <algorithm>
#include <cmath>

#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/text.h"
#include "nn/text/utf8.h"

namespace fledge::nn::jinja {
namespace {

constexpr int64_t kMaximumWidth = 1000;

/// Both ways know these.
struct Layout {
  std::string fill = " ";
  char align = 0;  ///< '<', '>', '^', '=' or nothing: by the kind of value
  char sign = '-';
  bool alternate = false, thousands = false;
  int64_t width = 0, precision = -1;
  char type = 0;
};

int64_t read_number(const std::string& text, size_t& at) {
  int64_t number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    number = number * 10 + (text[at++] - '0');
    if (number > kMaximumWidth) throw Fault("a width of more than {} in a format", kMaximumWidth);
  }
  return number;
}

std::string with_thousands(std::string digits) {
  size_t end = digits.find_first_not_of("0123456789");
  if (end == std::string::npos) end = digits.size();
  for (size_t at = end; at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

/// The digits of a number without its sign.
std::string number_text(const Value& value, const Layout& layout) {
  const bool is_float = value.is(Kind::floating);
  if (!is_float && (layout.type == 0 || std::string_view("dinxXobu").find(layout.type) != std::string_view::npos)) {
    const int64_t number = value.integer();
    const uint64_t size = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    std::string text = layout.type == 'x'   ? fmt::format("{:x}", size)
                       : layout.type == 'X' ? fmt::format("{:X}", size)
                       : layout.type == 'o' ? fmt::format("{:o}", size)
                       : layout.type == 'b' ? fmt::format("{:b}", size)
                                            : std::to_string(size);
    if (layout.thousands) text = with_thousands(std::move(text));
    const bool prefixed = layout.alternate && std::string_view("xXob").find(layout.type) != std::string_view::npos;
    return prefixed ? std::string("0") + layout.type + text : text;
  }
  const double number = std::abs(value.number());
  const auto precision = static_cast<int>(layout.precision < 0 ? 6 : layout.precision);
  std::string text;
  switch (layout.type) {
    case 'f':
    case 'F':
      text = fmt::format("{:.{}f}", number, precision);
      break;
    case 'e':
      text = fmt::format("{:.{}e}", number, precision);
      break;
    case 'E':
      text = fmt::format("{:.{}E}", number, precision);
      break;
    case '%':
      text = fmt::format("{:.{}f}%", number * 100, precision);
      break;
    case 'g':
      text = fmt::format("{:.{}g}", number, std::max(precision, 1));
      break;
    case 'G':
      text = fmt::format("{:.{}G}", number, std::max(precision, 1));
      break;
    case 0:
      text = layout.precision < 0 ? float_text(number) : fmt::format("{:.{}g}", number, precision);
      break;
    default:
      throw Fault("the format '{}' does not fit a {}", layout.type, type_name(value));
  }
  return layout.thousands ? with_thousands(std::move(text)) : text;
}

std::string padded(const std::string& sign, const std::string& text, char align, const Layout& layout) {
  const auto length = static_cast<int64_t>(text_length(sign) + text_length(text));
  if (length >= layout.width) return sign + text;
  const auto missing = static_cast<size_t>(layout.width - length);
  const size_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string before, after;
  for (size_t index = 0; index < left; ++index) before += layout.fill;
  for (size_t index = left; index < missing; ++index) after += layout.fill;
  return align == '=' ? sign + before + text : before + sign + text + after;
}

std::string laid_out_number(const Value& value, const Layout& layout) {
  const bool negative = value.is(Kind::floating) ? std::signbit(value.number()) : value.integer() < 0;
  const std::string sign = negative ? "-" : layout.sign == '-' ? "" : std::string(1, layout.sign);
  return padded(sign, number_text(value, layout), layout.align == 0 ? '>' : layout.align, layout);
}

std::string laid_out_text(std::string text, const Layout& layout, char align) {
  if (layout.precision >= 0) {
    std::vector<char32_t> points = code_points(text);
    if (static_cast<int64_t>(points.size()) > layout.precision) {
      points.resize(static_cast<size_t>(layout.precision));
      text = from_code_points(points);
    }
  }
  return padded("", text, layout.align == 0 || layout.align == '=' ? align : layout.align, layout);
}

/// One conversion of the % form; `at` stands behind the '%' and a "(name)".
std::string percent_field(const std::string& format, size_t& at, const std::function<const Value&()>& next) {
  Layout layout;
  bool zeros = false;
  for (; at < format.size() && std::string_view("-+ #0").find(format[at]) != std::string_view::npos; ++at) {
    if (format[at] == '-') layout.align = '<';
    if (format[at] == '+' || (format[at] == ' ' && layout.sign == '-')) layout.sign = format[at];
    layout.alternate = layout.alternate || format[at] == '#';
    zeros = zeros || format[at] == '0';
  }
  layout.width = read_number(format, at);
  if (at < format.size() && format[at] == '.') layout.precision = read_number(format, ++at);
  if (at >= format.size()) throw Fault("a format that ends behind '%'");
  layout.type = format[at++];
  if (layout.type == '%') return "%";
  const Value& value = next();
  if (layout.type == 's') return laid_out_text(to_text(value), layout, '>');
  if (layout.type == 'r') return laid_out_text(to_repr(value), layout, '>');
  if (std::string_view("diuxXofFeEgG").find(layout.type) == std::string_view::npos)
    throw Fault("the format '%{}' is not known", layout.type);
  if (!value.is_number())
    throw Fault("'%{}' needs a number and not a {}", layout.type, type_name(require_defined(value)));
  if (zeros && layout.align == 0) {
    layout.fill = "0";
    layout.align = '=';
  }
  const bool whole = std::string_view("diu").find(layout.type) != std::string_view::npos;
  if (!whole || !value.is(Kind::floating)) return laid_out_number(value, layout);
  if (!(std::abs(value.number()) < 9e18)) throw Fault("an integer beyond 64 bits");
  return laid_out_number(Value(static_cast<int64_t>(value.number())), layout);
}

/// "[[fill]align][sign][#][0][width][,][.precision][type]".
Layout parse_layout(const std::string& text) {
  Layout layout;
  size_t at = 0;
  const auto is_align = [&](size_t place) {
    return place < text.size() && std::string_view("<>^=").find(text[place]) != std::string_view::npos;
  };
  size_t first = 1;
  if (!text.empty()) decode_utf8(text.data(), first);
  if (is_align(first)) {
    layout.fill = text.substr(0, first);
    layout.align = text[first];
    at = first + 1;
  } else if (is_align(0)) {
    layout.align = text[at++];
  }
  if (at < text.size() && std::string_view("+- ").find(text[at]) != std::string_view::npos) layout.sign = text[at++];
  if (at < text.size() && text[at] == '#') layout.alternate = ++at > 0;
  if (at < text.size() && text[at] == '0' && layout.align == 0) {
    layout.fill = "0";
    layout.align = '=';
    ++at;
  }
  layout.width = read_number(text, at);
  if (at < text.size() && text[at] == ',') layout.thousands = ++at > 0;
  if (at < text.size() && text[at] == '.') layout.precision = read_number(text, ++at);
  if (at < text.size()) layout.type = text[at++];
  if (at < text.size()) throw Fault("the format '{}' is not known", text);
  return layout;
}

std::string brace_field(const Value& value, const std::string& conversion, const std::string& specification) {
  if (specification.empty()) return conversion == "r" ? to_repr(value) : to_text(value);
  const Layout layout = parse_layout(specification);
  if (conversion.empty() && value.is_number() && !(value.is(Kind::boolean) && layout.type == 0))
    return laid_out_number(value, layout);
  if (layout.type != 0 && layout.type != 's')
    throw Fault("the format '{}' does not fit a {}", specification, type_name(require_defined(value)));
  return laid_out_text(conversion == "r" ? to_repr(value) : to_text(value), layout, '<');
}

/// The value of "0.name[key]" among the arguments.
Value brace_value(Interpreter& interpreter, const std::string& path, size_t& automatic, const Arguments& arguments) {
  size_t end = std::min(path.find_first_of(".["), path.size());
  const std::string first = path.substr(0, end);
  const auto is_number = [](const std::string& text) {
    return !text.empty() && text.size() < 10 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  Value value;
  if (first.empty() || is_number(first)) {
    const size_t index = first.empty() ? automatic++ : std::stoul(first);
    if (index >= arguments.positional.size()) throw Fault("format has no argument {}", index);
    value = arguments.positional[index];
  } else {
    const auto found =
        std::ranges::find_if(arguments.named, [&](const auto& argument) { return argument.first == first; });
    if (found == arguments.named.end()) throw Fault("format has no argument '{}'", first);
    value = found->second;
  }
  while (end < path.size()) {
    const bool is_item = path[end] == '[';
    const size_t begin = end + 1;
    end = is_item ? path.find(']', begin) : std::min(path.find_first_of(".[", begin), path.size());
    if (end == std::string::npos) throw Fault("'[' without ']' in a format");
    const std::string name = path.substr(begin, end - begin);
    if (is_item) ++end;
    value = !is_item          ? interpreter.attribute(value, name)
            : is_number(name) ? interpreter.item(value, Value(static_cast<int64_t>(std::stoul(name))))
                              : interpreter.item(value, Value(name));
  }
  return value;
}

}  // namespace

std::string format_percent(Interpreter& interpreter, const std::string& format, const Value& value) {
  require_defined(value);
  std::string text;
  size_t used = 0;
  const std::vector<Value> values = value.is(Kind::tuple) ? value.items() : std::vector<Value>{value};
  for (size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      text += format[at++];
      continue;
    }
    ++at;
    Value named;
    bool is_named = false;
    if (at < format.size() && format[at] == '(') {
      const size_t close = format.find(')', at);
      if (close == std::string::npos || !value.is(Kind::dict)) throw Fault("'%(' in a format needs ')' and a dict");
      named = require_defined(interpreter.item(value, Value(format.substr(at + 1, close - at - 1))));
      is_named = true;
      at = close + 1;
    }
    const size_t before = text.size();
    text += percent_field(format, at, [&]() -> const Value& {
      if (is_named) return named;
      if (used >= values.size()) throw Fault("a format wants more values than it is given");
      return values[used++];
    });
    interpreter.budget().make_text(text.size() - before);
  }
  if (used < values.size() && !value.is(Kind::dict)) throw Fault("a format is given more values than it wants");
  return text;
}

std::string format_braces(Interpreter& interpreter, const std::string& format, const Arguments& arguments) {
  std::string text;
  size_t automatic = 0;
  for (size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
      text += c;
      ++at;
    } else if (c == '}') {
      throw Fault("'}}' without '{{' in a format");
    } else if (c != '{') {
      text += c;
    } else {
      const size_t close = format.find('}', at);
      if (close == std::string::npos) throw Fault("'{{' without '}}' in a format");
      std::string field = format.substr(at + 1, close - at - 1), specification, conversion;
      if (field.find('{') != std::string::npos) throw Fault("fields inside each other in a format");
      if (const size_t colon = field.find(':'); colon != std::string::npos) {
        specification = field.substr(colon + 1);
        field.resize(colon);
      }
      if (const size_t mark = field.find('!'); mark != std::string::npos) {
        conversion = field.substr(mark + 1);
        field.resize(mark);
      }
      const Value value = brace_value(interpreter, field, automatic, arguments);
      const std::string shown = brace_field(value, conversion, specification);
      interpreter.budget().make_text(shown.size());
      text += shown;
      at = close;
    }
  }
  return text;
}

}  // namespace fledge::nn::jinja
