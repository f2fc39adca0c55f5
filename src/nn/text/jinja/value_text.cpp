// How values are written: Python's str(), repr() and json.dumps().
#include <algorithm>
#include <cmath>

#include "nn/text/jinja/text.h"
#include "nn/text/jinja/value.h"
#include "nn/text/utf8.h"

namespace fledge::nn::jinja {
namespace {

// Lists are bounded in weight; with quotes and escapes a text grows at most tenfold.
constexpr size_t kMaximumText = size_t{256} << 20;

void check_size(const std::string& text) {
  if (text.size() > kMaximumText) throw Fault("a value with more than {} bytes of text", kMaximumText);
}

void append_repr(const Value& value, std::string& text) {
  check_size(text);
  switch (value.kind()) {
    case Kind::undefined:
      text += "Undefined";
      return;
    case Kind::none:
      text += "None";
      return;
    case Kind::boolean:
      text += value.boolean() ? "True" : "False";
      return;
    case Kind::integer:
      text += std::to_string(value.integer());
      return;
    case Kind::floating:
      text += float_text(value.number());
      return;
    case Kind::string:
      text += quoted_text(value.string());
      return;
    case Kind::object:
      text += "<" + value.object().type_name() + ">";
      return;
    case Kind::list:
    case Kind::tuple: {
      const List& list = value.list();
      if (!list.view.empty()) text += std::string(list.view) + "(";
      text += list.is_tuple ? '(' : '[';
      for (size_t index = 0; index < list.items.size(); ++index) {
        if (index > 0) text += ", ";
        append_repr(list.items[index], text);
      }
      if (list.is_tuple && list.items.size() == 1) text += ',';
      text += list.is_tuple ? ')' : ']';
      if (!list.view.empty()) text += ')';
      return;
    }
    case Kind::dict:
      text += '{';
      for (const auto& [key, item] : value.dict().entries) {
        if (text.back() != '{' || &key != &value.dict().entries.front().first) text += ", ";
        append_repr(key, text);
        text += ": ";
        append_repr(item, text);
      }
      text += '}';
  }
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  std::string finish(const Value& value) {
    write(value, 0);
    return std::move(text_);
  }

 private:
  void write(const Value& value, size_t depth) {
    check_size(text_);
    switch (value.kind()) {
      case Kind::none:
        text_ += "null";
        return;
      case Kind::boolean:
        text_ += value.boolean() ? "true" : "false";
        return;
      case Kind::integer:
        text_ += std::to_string(value.integer());
        return;
      case Kind::floating:
        text_ += number(value.number());
        return;
      case Kind::string:
        write_string(value.string());
        return;
      case Kind::list:
      case Kind::tuple:
        write_list(value.items(), depth);
        return;
      case Kind::dict:
        write_dict(value.dict(), depth);
        return;
      case Kind::undefined:
        throw Fault("{}, so tojson has nothing to write", value.complaint());
      default:
        throw Fault("tojson cannot write a {}", type_name(value));
    }
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_text(value);
  }

  void new_line(size_t depth) {
    if (!style_.indent) return;
    text_ += '\n';
    for (size_t level = 0; level < depth; ++level) text_ += *style_.indent;
  }

  void write_list(const std::vector<Value>& items, size_t depth) {
    text_ += '[';
    for (size_t index = 0; index < items.size(); ++index) {
      if (index > 0) text_ += style_.item_separator;
      new_line(depth + 1);
      write(items[index], depth + 1);
    }
    if (!items.empty()) new_line(depth);
    text_ += ']';
  }

  void write_dict(const Dict& dict, size_t depth) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys)
      std::ranges::stable_sort(entries, [](const auto* a, const auto* b) { return less(a->first, b->first); });
    text_ += '{';
    for (size_t index = 0; index < entries.size(); ++index) {
      if (index > 0) text_ += style_.item_separator;
      new_line(depth + 1);
      write_key(entries[index]->first);
      text_ += style_.key_separator;
      write(entries[index]->second, depth + 1);
    }
    if (!entries.empty()) new_line(depth);
    text_ += '}';
  }

  void write_key(const Value& key) {
    switch (key.kind()) {
      case Kind::string:
        write_string(key.string());
        return;
      case Kind::none:
        text_ += "\"null\"";
        return;
      case Kind::boolean:
        text_ += key.boolean() ? "\"true\"" : "\"false\"";
        return;
      case Kind::integer:
        text_ += '"' + std::to_string(key.integer()) + '"';
        return;
      case Kind::floating:
        text_ += '"' + number(key.number()) + '"';
        return;
      default:
        throw Fault("tojson cannot write a key that is a {}", type_name(key));
    }
  }

  void write_string(std::string_view text) {
    text_ += '"';
    for (const char32_t point : code_points(text)) write_character(point);
    text_ += '"';
  }

  void write_character(char32_t point) {
    switch (point) {
      case '"':
        text_ += "\\\"";
        return;
      case '\\':
        text_ += "\\\\";
        return;
      case '\n':
        text_ += "\\n";
        return;
      case '\r':
        text_ += "\\r";
        return;
      case '\t':
        text_ += "\\t";
        return;
      case '\b':
        text_ += "\\b";
        return;
      case '\f':
        text_ += "\\f";
        return;
      default:
        break;
    }
    const auto code = static_cast<uint32_t>(point);
    if (code >= 0x20 && (!style_.ensure_ascii || code < 0x7F)) {
      append_utf8(text_, point);
    } else if (code < 0x10000) {
      text_ += fmt::format("\\u{:04x}", code);
    } else {
      text_ +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF));
    }
  }

  const JsonStyle& style_;
  std::string text_;
};

}  // namespace

std::string to_repr(const Value& value) {
  std::string text;
  append_repr(value, text);
  return text;
}

std::string to_text(const Value& value) {
  if (value.is(Kind::string)) return value.string();
  if (value.is(Kind::undefined)) return "";
  return to_repr(value);
}

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  budget.spend(weight_of(value));
  std::string text = JsonWriter(style).finish(value);
  budget.make_text(text.size());
  return text;
}

}  // namespace fledge::nn::jinja
