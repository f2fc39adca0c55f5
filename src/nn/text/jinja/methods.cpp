// Methods of strings, lists and dicts. Those that would change a list or a dict are refused, as transformers' sandbox
// refuses them.
#include <algorithm>

#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/operators.h"
#include "nn/text/jinja/text.h"

namespace fledge::nn::jinja {
namespace {

using Method = Value (*)(Interpreter&, const Value&, const Arguments&);
using MethodTable = std::map<std::string, Method, std::less<>>;

template <std::string (*change)(std::string_view)>
Value changed_text(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.bind("the method", {});
  interpreter.budget().make_text(value.string().size());
  return Value(change(value.string()));
}

template <bool left, bool right>
Value stripped(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("strip", {"chars"});
  interpreter.budget().make_text(value.string().size());
  if (!bound[0] || bound[0]->is(Kind::none)) return Value(strip(value.string(), left, right));
  const std::string& characters = to_string(*bound[0], "the argument of strip");
  interpreter.budget().spend(value.string().size() / 64 * (characters.size() / 64));
  return Value(strip(value.string(), left, right, &characters));
}

Value text_list(const std::vector<std::string>& texts, Budget& budget) {
  std::vector<Value> items;
  for (const std::string& text : texts) items.emplace_back(text);
  return make_list(std::move(items), budget);
}

template <std::vector<std::string> (*cut)(std::string_view, std::string_view, int64_t)>
Value split_text(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("split", {"sep", "maxsplit"});
  std::string separator;
  if (bound[0] && !bound[0]->is(Kind::none)) {
    separator = to_string(*bound[0], "the separator of split");
    if (separator.empty()) throw Fault("the separator of split is empty");
  }
  interpreter.budget().make_text(value.string().size());
  interpreter.budget().spend(value.string().size() / 16);
  const int64_t limit = bound[1] ? to_integer(*bound[1], "the limit of split") : -1;
  return text_list(cut(value.string(), separator, limit), interpreter.budget());
}

template <bool at_end>
Value begins_or_ends(Interpreter&, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(at_end ? "endswith" : "startswith", {"prefix"}, 1);
  const auto fits = [&](const Value& part) {
    const std::string& text = to_string(part, "the argument of startswith or endswith");
    return at_end ? value.string().ends_with(text) : value.string().starts_with(text);
  };
  if (bound[0]->is(Kind::tuple)) return Value(std::ranges::any_of(bound[0]->items(), fits));
  return Value(fits(*bound[0]));
}

/// Position in code points, or -1.
template <bool from_right, bool must_be_there>
Value position(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("find", {"sub"}, 1);
  const std::string &text = value.string(), &part = to_string(*bound[0], "the argument of find");
  interpreter.budget().spend(text.size() / 64);
  if (from_right) interpreter.budget().spend(count_text(text, part.empty() ? " " : part));
  size_t found = find_text(text, part);
  if (from_right && found != std::string::npos) {
    if (part.empty()) found = text.size();
    for (size_t next = found; !part.empty() && next != std::string::npos; next = find_text(text, part, next + 1))
      found = next;
  }
  if (found != std::string::npos)
    return Value(static_cast<int64_t>(text_length(std::string_view(text).substr(0, found))));
  if (must_be_there) throw Fault("the text that index() looks for is not there");
  return Value(-1);
}

template <bool (*holds)(char32_t)>
Value all_characters(Interpreter&, const Value& value, const Arguments&) {
  return Value(!value.string().empty() && std::ranges::all_of(code_points(value.string()), holds));
}

bool is_letter_or_digit(char32_t point) {
  return is_letter(point) || is_digit(point);
}

template <bool upper_case>
Value has_case(Interpreter&, const Value& value, const Arguments&) {
  const std::string& text = value.string();
  return Value((upper_case ? upper(text) : lower(text)) == text && lower(text) != upper(text));
}

Value cut_in_three(Interpreter& interpreter, const std::string& text, size_t found, size_t length, bool from_right) {
  if (found == std::string::npos) {
    return from_right ? make_tuple({Value(""), Value(""), Value(text)}, interpreter.budget())
                      : make_tuple({Value(text), Value(""), Value("")}, interpreter.budget());
  }
  return make_tuple(
      {Value(text.substr(0, found)), Value(text.substr(found, length)), Value(text.substr(found + length))},
      interpreter.budget());
}

template <bool from_right>
Value partition(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const std::string& text = value.string();
  const std::string part = to_string(*arguments.bind("partition", {"sep"}, 1)[0], "the separator of partition");
  if (part.empty()) throw Fault("the separator of partition is empty");
  interpreter.budget().make_text(text.size());
  return cut_in_three(interpreter, text, from_right ? text.rfind(part) : find_text(text, part), part.size(),
                      from_right);
}

template <bool at_end>
Value without_affix(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const std::string& text = value.string();
  const std::string part = to_string(*arguments.bind("removeprefix", {"part"}, 1)[0], "the argument");
  interpreter.budget().make_text(text.size());
  if (at_end ? !text.ends_with(part) : !text.starts_with(part)) return value;
  return Value(at_end ? text.substr(0, text.size() - part.size()) : text.substr(part.size()));
}

Value through_filter(Interpreter& interpreter, const char* filter, const Value& value, const Arguments& arguments) {
  return interpreter.apply_filter(filter, value, arguments);
}

const MethodTable& string_methods() {
  static const MethodTable table = {
      {"upper", changed_text<upper>},
      {"lower", changed_text<lower>},
      {"casefold", changed_text<lower>},
      {"title", changed_text<titled>},
      {"capitalize", changed_text<capitalized>},
      {"strip", stripped<true, true>},
      {"lstrip", stripped<true, false>},
      {"rstrip", stripped<false, true>},
      {"split", split_text<split>},
      {"rsplit", split_text<split_right>},
      {"startswith", begins_or_ends<false>},
      {"endswith", begins_or_ends<true>},
      {"find", position<false, false>},
      {"rfind", position<true, false>},
      {"index", position<false, true>},
      {"rindex", position<true, true>},
      {"isdigit", all_characters<is_digit>},
      {"isdecimal", all_characters<is_digit>},
      {"isnumeric", all_characters<is_digit>},
      {"isalpha", all_characters<is_letter>},
      {"isalnum", all_characters<is_letter_or_digit>},
      {"isspace", all_characters<is_space>},
      {"isupper", has_case<true>},
      {"islower", has_case<false>},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"removeprefix", without_affix<false>},
      {"removesuffix", without_affix<true>},
      {"splitlines",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const auto bound = a.bind("splitlines", {"keepends"});
         i.budget().make_text(v.string().size());
         return text_list(split_lines(v.string(), bound[0] && truth(*bound[0])), i.budget());
       }},
      {"count",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const std::string part = to_string(*a.bind("count", {"sub"}, 1)[0], "the argument of count");
         i.budget().spend(v.string().size() / 16);
         return Value(static_cast<int64_t>(part.empty() ? text_length(v.string()) + 1 : count_text(v.string(), part)));
       }},
      {"replace",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const auto bound = a.bind("replace", {"old", "new", "count"}, 2);
         to_string(*bound[0], "what replace looks for");
         to_string(*bound[1], "what replace puts there");
         return through_filter(i, "replace", v, a);
       }},
      {"join",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const auto bound = a.bind("join", {"iterable"}, 1);
         const std::vector<Value> items = i.iterate(require_defined(*bound[0]));
         for (const Value& item : items) to_string(item, "a part that join puts together");
         return i.apply_filter("join", make_list(items, i.budget()), {{v}, {}});
       }},
      {"format",
       [](Interpreter& i, const Value& v, const Arguments& a) { return Value(format_braces(i, v.string(), a)); }},
      {"zfill",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const int64_t width = to_integer(*a.bind("zfill", {"width"}, 1)[0], "the width of zfill");
         const auto length = static_cast<int64_t>(text_length(v.string()));
         if (width <= length) return v;
         i.budget().make_text(static_cast<size_t>(width) + v.string().size());
         const size_t sign = v.string().starts_with('-') || v.string().starts_with('+') ? 1 : 0;
         return Value(v.string().substr(0, sign) + std::string(static_cast<size_t>(width - length), '0') +
                      v.string().substr(sign));
       }},
  };
  return table;
}

Value list_index(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind("index", {"value"}, 1);
  for (size_t index = 0; index < value.items().size(); ++index) {
    if (compare("==", value.items()[index], *bound[0], interpreter.budget())) return Value(static_cast<int64_t>(index));
  }
  throw Fault("the value that index() looks for is not in the list");
}

const MethodTable& list_methods() {
  static const MethodTable table = {
      {"index", list_index},
      {"count",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const auto bound = a.bind("count", {"value"}, 1);
         return Value(static_cast<int64_t>(std::ranges::count_if(
             v.items(), [&](const Value& item) { return compare("==", item, *bound[0], i.budget()); })));
       }},
      {"copy", [](Interpreter&, const Value& v, const Arguments&) { return v; }},
  };
  return table;
}

enum class View : uint8_t { keys, values, items };

template <View view>
Value dict_view(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  arguments.bind("the method", {});
  std::vector<Value> items;
  for (const auto& [key, entry] : value.dict().entries) {
    items.push_back(view == View::keys     ? key
                    : view == View::values ? entry
                                           : make_tuple({key, entry}, interpreter.budget()));
  }
  constexpr std::string_view kNames[] = {"dict_keys", "dict_values", "dict_items"};
  return make_list(std::move(items), interpreter.budget(), kNames[static_cast<size_t>(view)]);
}

const MethodTable& dict_methods() {
  static const MethodTable table = {
      {"keys", dict_view<View::keys>},
      {"values", dict_view<View::values>},
      {"items", dict_view<View::items>},
      {"copy", [](Interpreter&, const Value& v, const Arguments&) { return v; }},
      {"get",
       [](Interpreter& i, const Value& v, const Arguments& a) {
         const auto bound = a.bind("get", {"key", "default"}, 1);
         i.budget().spend(weight_of(*bound[0]));
         const Value* found = v.dict().find(*bound[0]);
         return found != nullptr ? *found : bound[1].value_or(Value());
       }},
  };
  return table;
}

bool changes_its_owner(Kind kind, std::string_view name) {
  constexpr std::string_view kList[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
  constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (kind == Kind::list) return std::ranges::find(kList, name) != std::end(kList);
  return kind == Kind::dict && std::ranges::find(kDict, name) != std::end(kDict);
}

}  // namespace

std::optional<Value> find_method(const Value& value, const std::string& name) {
  if (changes_its_owner(value.kind(), name)) {
    return make_function(name, [name, type = type_name(value)](Interpreter&, const Arguments&) -> Value {
      throw Fault("'{}' would change a {}, and templates cannot change values: use set or a namespace", name, type);
    });
  }
  const MethodTable* table = value.is(Kind::string) ? &string_methods()
                             : value.is_sequence()  ? &list_methods()
                             : value.is(Kind::dict) ? &dict_methods()
                                                    : nullptr;
  if (table == nullptr) return std::nullopt;
  const auto found = table->find(name);
  if (found == table->end()) return std::nullopt;
  return make_function(name, [value, method = found->second](Interpreter& interpreter, const Arguments& arguments) {
    interpreter.budget().spend(weight_of(value) / 16);
    return method(interpreter, value, arguments);
  });
}

int64_t to_integer(const Value& value, std::string_view what) {
  if (value.is(Kind::integer) || value.is(Kind::boolean)) return value.integer();
  throw Fault("{} is a {} and not an integer", what, type_name(require_defined(value)));
}

const std::string& to_string(const Value& value, std::string_view what) {
  if (value.is(Kind::string)) return value.string();
  throw Fault("{} is a {} and not a str", what, type_name(require_defined(value)));
}

}  // namespace fledge::nn::jinja
