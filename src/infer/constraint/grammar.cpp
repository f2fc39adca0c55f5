#include "infer/constraint/grammar.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace fledge::infer {
namespace {

using Kind = GrammarNode::Kind;

constexpr char32_t kLastCodePoint = 0x10FFFF;

std::array<uint8_t, 4> encode(char32_t code_point, size_t length) {
  constexpr uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  std::array<uint8_t, 4> bytes{};
  for (size_t index = length; index-- > 1;) {
    bytes[index] = static_cast<uint8_t>(0x80 | (code_point & 0x3F));
    code_point >>= 6;
  }
  bytes[0] = static_cast<uint8_t>(kLead[length] | code_point);
  return bytes;
}

/// Cuts [low, high], whose encodings have one length, into parts whose bytes vary independently (Cox, "Regular
/// Expression Matching in the Wild", 2010).
void add_same_length(char32_t low, char32_t high, size_t length, std::vector<GrammarPointer>& parts) {
  for (size_t index = 1; index < length; ++index) {
    const char32_t mask = (char32_t{1} << 6 * index) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      add_same_length(low, low | mask, length, parts);
      add_same_length((low | mask) + 1, high, length, parts);
      return;
    }
    if ((high & mask) != mask) {
      add_same_length(low, (high & ~mask) - 1, length, parts);
      add_same_length(high & ~mask, high, length, parts);
      return;
    }
  }
  const auto first = encode(low, length), last = encode(high, length);
  std::vector<GrammarPointer> bytes;
  for (size_t index = 0; index < length; ++index) bytes.push_back(range_node(first[index], last[index]));
  parts.push_back(sequence_node(std::move(bytes)));
}

void add_range(char32_t low, char32_t high, std::vector<GrammarPointer>& parts) {
  constexpr std::pair<char32_t, char32_t> kByLength[] = {
      {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, kLastCodePoint}};
  constexpr size_t kLengths[] = {1, 2, 3, 3, 4};
  for (size_t index = 0; index < 5; ++index) {
    const char32_t from = std::max(low, kByLength[index].first), to = std::min(high, kByLength[index].second);
    if (from <= to) add_same_length(from, to, kLengths[index], parts);
  }
}

std::string escaped(char32_t character) {
  switch (character) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\u{:04x}", static_cast<uint32_t>(character));
  }
}

Grammar combined(const std::vector<Grammar>& parts, GrammarPointer (*combine)(std::vector<GrammarPointer>)) {
  Grammar result;
  std::vector<GrammarPointer> roots;
  for (const Grammar& part : parts) {
    roots.push_back(part.root);
    result.rules.insert(result.rules.end(), part.rules.begin(), part.rules.end());
  }
  result.root = combine(std::move(roots));
  return result;
}

}  // namespace

GrammarPointer literal_node(std::string_view bytes) {
  GrammarNode node;
  node.bytes = bytes;
  return std::make_shared<GrammarNode>(std::move(node));
}

GrammarPointer range_node(uint8_t low, uint8_t high) {
  GrammarNode node;
  node.kind = Kind::range;
  node.low = low;
  node.high = high;
  return std::make_shared<GrammarNode>(std::move(node));
}

GrammarPointer sequence_node(std::vector<GrammarPointer> parts) {
  if (parts.size() == 1) return parts[0];
  GrammarNode node;
  node.kind = Kind::sequence;
  node.children = std::move(parts);
  return std::make_shared<GrammarNode>(std::move(node));
}

GrammarPointer choice_node(std::vector<GrammarPointer> parts) {
  if (parts.size() == 1) return parts[0];
  GrammarNode node;
  node.kind = Kind::choice;
  node.children = std::move(parts);
  return std::make_shared<GrammarNode>(std::move(node));
}

GrammarPointer repeat_node(GrammarPointer part, int64_t least, int64_t most) {
  if (least > kMostRepeats || most > kMostRepeats) {
    throw base::UsageError("a repeat of {} is above the limit of {}: use a smaller bound", std::max(least, most),
                           kMostRepeats);
  }
  GrammarNode node;
  node.kind = Kind::repeat;
  node.children = {std::move(part)};
  node.least = least;
  node.most = most;
  return std::make_shared<GrammarNode>(std::move(node));
}

GrammarPointer optional_node(GrammarPointer part) {
  return repeat_node(std::move(part), 0, 1);
}

GrammarPointer call_node(const GrammarRule* rule) {
  GrammarNode node;
  node.kind = Kind::call;
  node.rule = rule;
  return std::make_shared<GrammarNode>(std::move(node));
}

Grammar literal_grammar(std::string_view text) {
  return {literal_node(text), {}};
}

Grammar choice_grammar(const std::vector<std::string>& texts) {
  std::vector<GrammarPointer> parts;
  parts.reserve(texts.size());
  for (const std::string& text : texts) parts.push_back(literal_node(text));
  return {choice_node(std::move(parts)), {}};
}

Grammar sequence_grammar(const std::vector<Grammar>& parts) {
  return combined(parts, sequence_node);
}

Grammar alternative_grammar(const std::vector<Grammar>& parts) {
  return combined(parts, choice_node);
}

CharacterSet normalized(CharacterSet set) {
  std::ranges::sort(set);
  CharacterSet result;
  for (const auto& [low, high] : set) {
    if (!result.empty() && low <= result.back().second + 1) {
      result.back().second = std::max(result.back().second, high);
    } else {
      result.emplace_back(low, high);
    }
  }
  return result;
}

CharacterSet complement(const CharacterSet& set) {
  CharacterSet result;
  char32_t next = 0;
  for (const auto& [low, high] : normalized(set)) {
    if (low > next) result.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLastCodePoint) result.emplace_back(next, kLastCodePoint);
  return result;
}

GrammarPointer utf8_node(const CharacterSet& set) {
  std::vector<GrammarPointer> parts;
  for (const auto& [low, high] : set) add_range(low, high, parts);
  return choice_node(std::move(parts));
}

GrammarPointer json_character_node(const CharacterSet& set) {
  std::vector<GrammarPointer> parts;
  const auto is_escaped = [](char32_t character) { return character < 0x20 || character == '"' || character == '\\'; };
  for (const auto& [low, high] : set) {
    char32_t from = low;
    for (char32_t character = low; character <= std::min<char32_t>(high, '\\'); ++character) {
      if (!is_escaped(character)) continue;
      if (from < character) add_range(from, character - 1, parts);
      parts.push_back(literal_node(escaped(character)));
      from = character + 1;
    }
    if (from <= high) add_range(from, high, parts);
  }
  return choice_node(std::move(parts));
}

}  // namespace fledge::infer
