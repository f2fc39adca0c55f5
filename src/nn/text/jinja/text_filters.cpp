// Filters on text.
#include <algorithm>

#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/text.h"
#include "nn/text/utf8.h"

namespace fledge::nn::jinja {
namespace {

/// The value as text, paid for.
std::string text_of(Interpreter& interpreter, const Value& value) {
  std::string text = to_text(value);
  interpreter.budget().make_text(text.size());
  return text;
}

template <std::string (*change)(std::string_view)>
Value changed(Interpreter& interpreter, const Value& value, const Arguments&) {
  return Value(change(text_of(interpreter, value)));
}

/// Jinja's title: upper case after white space, '-' and opening brackets alone.
std::string word_titled(std::string_view text) {
  std::string result;
  bool begins = true;
  for (const char32_t point : code_points(text)) {
    std::string one;
    append_utf8(one, point);
    result += begins ? upper(one) : lower(one);
    begins = is_space(point) || point == '-' || point == '(' || point == '{' || point == '[' || point == '<';
  }
  return result;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&#34;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

Value trim(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("trim", {"chars"});
  const std::string text = text_of(interpreter, value);
  if (!bound[0] || bound[0]->is(Kind::none)) return Value(strip(text, true, true));
  const std::string characters = to_string(*bound[0], "the argument of trim");
  interpreter.budget().spend(text.size() / 64 * (characters.size() / 64));
  return Value(strip(text, true, true, &characters));
}

Value replace(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("replace", {"old", "new", "count"}, 2);
  const std::string text = text_of(interpreter, value), old = text_of(interpreter, *bound[0]),
                    fresh = text_of(interpreter, *bound[1]);
  int64_t left = bound[2] && !bound[2]->is(Kind::none) ? to_integer(*bound[2], "the count of replace") : -1;
  std::string result;
  size_t at = 0;
  while (left != 0) {
    // An empty text is found before every character and at the end.
    const size_t found = find_text(text, old, at);
    if (found == std::string::npos) break;
    result += text.substr(at, found - at);
    interpreter.budget().make_text(fresh.size() + (found - at) + 1);
    result += fresh;
    at = found + old.size();
    --left;
    if (!old.empty()) continue;
    if (at >= text.size()) return Value(std::move(result));
    size_t length = 1;
    decode_utf8(text.data() + at, length);
    result += text.substr(at, length);
    at += length;
  }
  return Value(result + text.substr(at));
}

Value indent(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("indent", {"width", "first", "blank"});
  std::string space(4, ' ');
  if (bound[0] && bound[0]->is(Kind::string)) {
    space = bound[0]->string();
  } else if (bound[0]) {
    const int64_t width = std::max<int64_t>(0, to_integer(*bound[0], "the width of indent"));
    interpreter.budget().make_text(static_cast<size_t>(width));
    space = std::string(static_cast<size_t>(width), ' ');
  }
  const bool first = bound[1] && truth(*bound[1]), blank = bound[2] && truth(*bound[2]);
  const std::vector<std::string> lines = split_lines(text_of(interpreter, value) + "\n", false);
  std::string result;
  for (size_t index = 0; index < lines.size(); ++index) {
    if (index > 0) result += '\n';
    const bool shifts = index == 0 ? first : blank || !lines[index].empty();
    interpreter.budget().make_text(lines[index].size() + space.size());
    if (shifts) result += space;
    result += lines[index];
  }
  return Value(std::move(result));
}

Value center(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("center", {"width"});
  const std::string text = text_of(interpreter, value);
  const int64_t width = bound[0] ? to_integer(*bound[0], "the width of center") : 80;
  const auto length = static_cast<int64_t>(text_length(text));
  if (width <= length) return Value(text);
  const auto missing = static_cast<size_t>(width - length);
  interpreter.budget().make_text(missing);
  // Python puts the odd space on the left where the width is odd.
  const size_t left = missing / 2 + (missing & static_cast<size_t>(width) & 1);
  return Value(std::string(left, ' ') + text + std::string(missing - left, ' '));
}

Value format(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const std::string text = text_of(interpreter, value);
  if (!arguments.named.empty()) {
    if (!arguments.positional.empty()) throw Fault("format takes values with names or without, not both");
    Dict dict;
    for (const auto& [name, item] : arguments.named) dict.set(Value(name), item);
    return Value(format_percent(interpreter, text, make_dict(std::move(dict), interpreter.budget())));
  }
  return Value(format_percent(interpreter, text, make_tuple(arguments.positional, interpreter.budget())));
}

Value word_count(Interpreter& interpreter, const Value& value, const Arguments&) {
  int64_t count = 0;
  bool inside = false;
  for (const char32_t point : code_points(text_of(interpreter, value))) {
    const bool is_word = is_letter(point) || is_digit(point) || point == '_';
    count += is_word && !inside ? 1 : 0;
    inside = is_word;
  }
  return Value(count);
}

/// Without <tags> and <!-- comments -->, and with runs of white space as one space.
Value strip_tags(Interpreter& interpreter, const Value& value, const Arguments&) {
  const std::string text = text_of(interpreter, value);
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const bool comment = text.compare(at, 4, "<!--") == 0;
    const size_t close = text[at] == '<' ? find_text(text, comment ? "-->" : ">", at) : std::string::npos;
    if (close == std::string::npos) {
      kept += text[at++];
    } else {
      at = close + (comment ? 3 : 1);
    }
    interpreter.budget().spend();
  }
  std::string result;
  for (const std::string& word : split(kept, "", -1)) result += (result.empty() ? "" : " ") + word;
  return Value(std::move(result));
}

Value to_json_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  // In the order of transformers' own tojson.
  const auto bound = arguments.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound[0] && truth(*bound[0]);
  style.sort_keys = bound[3] && truth(*bound[3]);
  if (bound[1] && bound[1]->is(Kind::string)) {
    style.indent = bound[1]->string();
  } else if (bound[1] && !bound[1]->is(Kind::none)) {
    const int64_t width = std::max<int64_t>(0, to_integer(*bound[1], "the indent of tojson"));
    if (width > 100) throw Fault("an indent of more than 100");
    style.indent = std::string(static_cast<size_t>(width), ' ');
  }
  if (style.indent) style.item_separator = ",";
  if (bound[2] && !bound[2]->is(Kind::none)) {
    const std::vector<Value> both = interpreter.iterate(*bound[2]);
    if (both.size() != 2) throw Fault("separators of tojson are two texts");
    style.item_separator = to_string(both[0], "a separator of tojson");
    style.key_separator = to_string(both[1], "a separator of tojson");
  }
  return Value(to_json(value, style, interpreter.budget()));
}

}  // namespace

void add_text_filters(FilterTable& table) {
  table["upper"] = changed<upper>;
  table["lower"] = changed<lower>;
  table["title"] = changed<word_titled>;
  table["capitalize"] = changed<capitalized>;
  table["escape"] = table["e"] = changed<escaped>;
  table["forceescape"] = changed<escaped>;
  table["string"] = [](Interpreter& i, const Value& v, const Arguments&) { return Value(text_of(i, v)); };
  table["safe"] = table["string"];
  table["trim"] = trim;
  table["replace"] = replace;
  table["indent"] = indent;
  table["center"] = center;
  table["format"] = format;
  table["wordcount"] = word_count;
  table["striptags"] = strip_tags;
  table["tojson"] = to_json_filter;
}

}  // namespace fledge::nn::jinja
