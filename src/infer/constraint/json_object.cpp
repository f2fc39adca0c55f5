#include "infer/constraint/json_object.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "nn/text/utf8.h"

namespace fledge::infer {
namespace {

constexpr size_t kLongestName = 300;

std::u32string code_points(const std::string& text) {
  std::u32string result;
  for (size_t position = 0; position < text.size();) {
    if (nn::utf8_length(text, position) == 0) throw base::UsageError("JSON Schema: a name that is not valid UTF-8");
    size_t length = 0;
    result.push_back(nn::decode_utf8(text.data() + position, length));
    position += length;
  }
  return result;
}

const CharacterSet& escaped_characters() {
  static const CharacterSet kEscaped = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
  return kEscaped;
}

GrammarPointer quote() {
  return literal_node("\"");
}

/// The rest of a name, with its closing quote, that is none of `names` (all cut before `position`).
GrammarPointer other_name(const std::vector<std::u32string>& names, size_t position, const GrammarPointer& any) {
  std::map<char32_t, std::vector<std::u32string>> by_character;
  bool may_close = true;
  for (const std::u32string& name : names) {
    if (name.size() == position) {
      may_close = false;
    } else {
      by_character[name[position]].push_back(name);
    }
  }
  CharacterSet taken = escaped_characters();
  std::vector<GrammarPointer> parts;
  if (may_close) parts.push_back(quote());
  for (const auto& [character, rest] : by_character) {
    taken.emplace_back(character, character);
    if (character < 0x20 || character == '"' || character == '\\') continue;  // needs an escape, so it cannot follow
    parts.push_back(sequence_node({utf8_node({{character, character}}), other_name(rest, position + 1, any)}));
  }
  parts.push_back(sequence_node({utf8_node(complement(taken)), any, quote()}));
  return choice_node(std::move(parts));
}

GrammarPointer additional_member(const JsonText& text, const ObjectParts& parts) {
  std::vector<std::u32string> names;
  for (const ObjectParts::Member& member : parts.members) names.push_back(code_points(member.name));
  for (const std::string& name : parts.excluded) names.push_back(code_points(name));
  for (const std::u32string& name : names) {
    if (name.size() > kLongestName)
      throw base::UsageError("JSON Schema: a property's name has {} characters; the limit is {}", name.size(),
                             kLongestName);
  }
  const GrammarPointer any = repeat_node(text.rule(utf8_node(complement(escaped_characters()))), 0, -1);
  return text.rule(sequence_node(
      {quote(), other_name(names, 0, any), literal_node(":"), optional_node(literal_node(" ")), parts.additional}));
}

}  // namespace

GrammarPointer object_of(const JsonText& text, const ObjectParts& parts) {
  const GrammarPointer other = parts.additional == nullptr ? nullptr : additional_member(text, parts);
  // tails[i]: the members from the i-th on, each behind a comma.
  GrammarPointer tail =
      other == nullptr ? literal_node("") : text.rule(repeat_node(sequence_node({text.comma(), other}), 0, -1));
  std::vector<GrammarPointer> beginnings;
  if (other != nullptr) beginnings.push_back(sequence_node({other, tail}));
  bool may_be_empty = true;
  for (size_t index = parts.members.size(); index-- > 0;) {
    const ObjectParts::Member& member = parts.members[index];
    const GrammarPointer written = text.rule(sequence_node({text.name(member.name), member.value}));
    if (member.required) {
      beginnings.clear();
      may_be_empty = false;
    }
    beginnings.push_back(sequence_node({written, tail}));
    GrammarPointer behind = sequence_node({text.comma(), written});
    if (!member.required) behind = optional_node(behind);
    tail = text.rule(sequence_node({behind, tail}));
  }
  if (beginnings.empty()) return literal_node("{}");
  return text.enclosed('{', choice_node(std::move(beginnings)), '}', may_be_empty);
}

GrammarPointer array_of(const JsonText& text, const std::vector<GrammarPointer>& prefix, const GrammarPointer& item,
                        int64_t least, int64_t most) {
  const auto fixed = static_cast<int64_t>(prefix.size());
  const auto more = [&](int64_t from) {  // the items from that one on, which is not the first, are all `item`
    if (item == nullptr) return literal_node("");
    return repeat_node(sequence_node({text.comma(), item}), std::max<int64_t>(0, least - from),
                       most < 0 ? -1 : most - from);
  };
  if (fixed == 0) return text.enclosed('[', sequence_node({item, more(1)}), ']', least == 0);
  GrammarPointer tail = more(fixed);
  for (int64_t index = fixed - 1; index > 0; --index) {
    tail = sequence_node({text.comma(), prefix[static_cast<size_t>(index)], tail});
    if (index >= least) tail = optional_node(tail);
  }
  return text.enclosed('[', sequence_node({prefix[0], tail}), ']', least == 0);
}

}  // namespace fledge::infer
