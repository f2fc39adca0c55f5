#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fledge::infer {

struct GrammarRule;
struct GrammarNode;
using GrammarPointer = std::shared_ptr<const GrammarNode>;

/// An expression over bytes. Immutable; parts may be shared.
struct GrammarNode {
  enum class Kind : uint8_t { literal, range, sequence, choice, repeat, call };
  Kind kind = Kind::literal;
  std::string bytes;                     ///< literal
  uint8_t low = 0, high = 0;             ///< range: one byte in [low, high]
  std::vector<GrammarPointer> children;  ///< sequence, choice (of none: matches nothing), repeat (one child)
  int64_t least = 0, most = -1;          ///< repeat; most -1: without end
  const GrammarRule* rule = nullptr;     ///< call
};

/// A named expression that others call, itself included: what makes a grammar context-free.
struct GrammarRule {
  GrammarPointer body;
};

/// Which texts are allowed: a context-free grammar over bytes, made by the functions here, by parse_regex() and by
/// compile_json_schema(). Holds the rules that `root` calls.
struct Grammar {
  GrammarPointer root;
  std::vector<std::shared_ptr<GrammarRule>> rules;
};

/// Repeat counts and lengths above this are refused.
constexpr int64_t kMostRepeats = 10000;

GrammarPointer literal_node(std::string_view bytes);
GrammarPointer range_node(uint8_t low, uint8_t high);
GrammarPointer sequence_node(std::vector<GrammarPointer> parts);
GrammarPointer choice_node(std::vector<GrammarPointer> parts);
/// `most` -1: without end. Throws base::UsageError above kMostRepeats.
GrammarPointer repeat_node(GrammarPointer part, int64_t least, int64_t most);
GrammarPointer optional_node(GrammarPointer part);
GrammarPointer call_node(const GrammarRule* rule);

/// Exactly this text.
Grammar literal_grammar(std::string_view text);
/// One of these texts.
Grammar choice_grammar(const std::vector<std::string>& texts);
/// One after the other: a literal, a JSON Schema, a literal, for a tool call.
Grammar sequence_grammar(const std::vector<Grammar>& parts);
/// Any one of them.
Grammar alternative_grammar(const std::vector<Grammar>& parts);

/// Code points, as sorted ranges that do not touch.
using CharacterSet = std::vector<std::pair<char32_t, char32_t>>;

CharacterSet normalized(CharacterSet set);
/// All code points but these; surrogates are no code points.
CharacterSet complement(const CharacterSet& set);
/// One character of the set in UTF-8.
GrammarPointer utf8_node(const CharacterSet& set);
/// One character of the set as it stands within a JSON string: quote, backslash and control characters escaped, all
/// others as they are.
GrammarPointer json_character_node(const CharacterSet& set);

}  // namespace fledge::infer
