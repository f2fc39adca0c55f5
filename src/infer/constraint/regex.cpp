#include "infer/constraint/regex.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "nn/text/utf8.h"

namespace fledge::infer {
namespace {

constexpr size_t kLongestPattern = 64 * 1024;
constexpr int kMostDepth = 200;

const CharacterSet kDigits = {{'0', '9'}};
const CharacterSet kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharacterSet kSpace = {{'\t', '\r'}, {' ', ' '}};
// \S leaves these out too: ECMAScript and Python without re.ASCII count them as white space.
const CharacterSet kAnySpace = {{'\t', '\r'},     {0x1C, ' '},      {0x85, 0x85},     {0xA0, 0xA0},
                                {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

class Parser {
 public:
  Parser(std::string_view pattern, RegexText text) : pattern_(pattern), text_(text) {}

  Grammar parse() {
    if (pattern_.size() > kLongestPattern) {
      throw base::UsageError("the regular expression has {} bytes; the limit is {}", pattern_.size(), kLongestPattern);
    }
    if (nn::valid_utf8_end(pattern_, 0) != pattern_.size()) fail("bytes that are not valid UTF-8");
    grammar_.root = alternatives(0);
    if (position_ < pattern_.size()) fail("a ) without its (");
    return std::move(grammar_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw base::UsageError("regular expression, byte {}: {}", position_, what);
  }

  bool at_end() const { return position_ >= pattern_.size(); }
  bool at(char character) const { return !at_end() && pattern_[position_] == character; }
  bool take(std::string_view text) {
    if (!pattern_.substr(position_).starts_with(text)) return false;
    position_ += text.size();
    return true;
  }

  char32_t take_character() {
    size_t length = 0;
    const char32_t character = nn::decode_utf8(pattern_.data() + position_, length);
    position_ += length;
    return character;
  }

  /// One character of the set; what takes more than a byte becomes a rule, so that repeats stay small.
  GrammarPointer character_node(const CharacterSet& set) {
    if (set.empty()) return choice_node({});
    GrammarPointer node = text_ == RegexText::plain ? utf8_node(set) : json_character_node(set);
    if (node->kind != GrammarNode::Kind::choice || set.back().second < 0x80) return node;
    auto& rule = rules_[set];
    if (rule == nullptr) {
      grammar_.rules.push_back(std::make_shared<GrammarRule>(GrammarRule{std::move(node)}));
      rule = grammar_.rules.back().get();
    }
    return call_node(rule);
  }

  GrammarPointer anything() { return repeat_node(character_node(complement({})), 0, -1); }

  GrammarPointer alternatives(int depth) {
    if (depth > kMostDepth) fail("groups nested too deeply");
    std::vector<GrammarPointer> parts;
    do {
      parts.push_back(sequence(depth));
    } while (take("|"));
    return choice_node(std::move(parts));
  }

  GrammarPointer sequence(int depth) {
    std::vector<GrammarPointer> parts;
    const bool search = depth == 0 && text_ == RegexText::json_string;
    if (at('^')) {
      if (depth > 0) fail("^ within a group is not supported: put it at the beginning");
      ++position_;
    } else if (search) {
      parts.push_back(anything());
    }
    while (!at_end() && !at('|') && !at(')') && !at('$')) parts.push_back(quantified(depth));
    if (at('$')) {
      if (depth > 0) fail("$ within a group is not supported: put it at the end");
      ++position_;
      if (!at_end() && !at('|')) fail("$ before the end is not supported");
    } else if (search) {
      parts.push_back(anything());
    }
    return sequence_node(std::move(parts));
  }

  GrammarPointer quantified(int depth) {
    GrammarPointer node = atom(depth);
    int64_t least = 0, most = -1;
    if (take("*")) {
    } else if (take("+")) {
      least = 1;
    } else if (take("?")) {
      most = 1;
    } else if (!bounds(least, most)) {
      return node;
    }
    if (at('+')) fail("possessive quantifiers are not supported");
    take("?");  // lazy: matches the same texts
    int64_t ignored_least = 0, ignored_most = 0;
    if (at('*') || at('?') || bounds(ignored_least, ignored_most)) fail("a quantifier follows a quantifier");
    return repeat_node(std::move(node), least, most);
  }

  /// {n}, {n,}, {n,m} or {,m}; anything else is a literal brace.
  bool bounds(int64_t& least, int64_t& most) {
    const size_t begin = position_;
    if (!take("{")) return false;
    const auto lower = number();
    const bool comma = take(",");
    const auto upper = comma ? number() : lower;
    if (!take("}") || (!lower && !upper)) {
      position_ = begin;
      return false;
    }
    least = lower.value_or(0);
    most = upper.value_or(-1);
    if (most >= 0 && most < least) fail("a repeat's upper bound is below its lower bound");
    return true;
  }

  std::optional<int64_t> number() {
    const size_t begin = position_;
    int64_t value = 0;
    for (; !at_end() && pattern_[position_] >= '0' && pattern_[position_] <= '9'; ++position_) {
      value = std::min<int64_t>(value * 10 + (pattern_[position_] - '0'), kMostRepeats + 1);
    }
    return position_ == begin ? std::nullopt : std::optional(value);
  }

  GrammarPointer atom(int depth) {
    if (take("(")) return group(depth);
    if (take("[")) return character_node(bracket_class());
    if (take(".")) return character_node(complement({{'\n', '\n'}}));
    if (take("\\")) return character_node(escape(false));
    if (at('*') || at('+') || at('?')) fail("a quantifier has nothing to repeat");
    if (at('^')) fail("^ after the beginning is not supported");
    const char32_t character = take_character();
    return character_node({{character, character}});
  }

  GrammarPointer group(int depth) {
    if (take("?")) {
      const std::string_view rest = pattern_.substr(position_);
      const bool named = !rest.starts_with("<=") && !rest.starts_with("<!") && (take("P<") || take("<"));
      if (named) {
        while (!at_end() && !at('>')) ++position_;
        if (!take(">")) fail("a group's name without its end");
      } else if (!take(":")) {
        fail("look-around, flags and conditions are not supported");
      }
    }
    GrammarPointer node = alternatives(depth + 1);
    if (!take(")")) fail("a ( without its )");
    return node;
  }

  CharacterSet bracket_class() {
    const bool negated = take("^");
    if (at(']')) fail("an empty class, or a ] that needs a backslash");
    CharacterSet set;
    while (!at(']')) {
      if (at_end()) fail("a [ without its ]");
      const CharacterSet low = class_item();
      if (at('-') && position_ + 1 < pattern_.size() && pattern_[position_ + 1] != ']') {
        ++position_;
        const CharacterSet high = class_item();
        const bool single =
            low.size() == 1 && low[0].first == low[0].second && high.size() == 1 && high[0].first == high[0].second;
        if (!single || high[0].first < low[0].first) fail("a range in a class that is no range");
        set.emplace_back(low[0].first, high[0].first);
      } else {
        set.insert(set.end(), low.begin(), low.end());
      }
    }
    ++position_;
    return negated ? complement(set) : complement(complement(set));
  }

  CharacterSet class_item() {
    if (at_end()) fail("a [ without its ]");
    if (take("\\")) return escape(true);
    const char32_t character = take_character();
    return {{character, character}};
  }

  char32_t hexadecimal(size_t digits) {
    char32_t value = 0;
    for (size_t index = 0; index < digits; ++index) {
      const char digit = at_end() ? '\0' : pattern_[position_];
      if (std::string_view("0123456789abcdefABCDEF").find(digit) == std::string_view::npos || digit == '\0') {
        fail("a hexadecimal digit is missing");
      }
      value = value * 16 + static_cast<char32_t>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
      ++position_;
    }
    return value;
  }

  char32_t unicode_escape() {
    const char32_t first = hexadecimal(4);
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || !take("\\u")) fail("half of a surrogate pair is no character");
    const char32_t second = hexadecimal(4);
    if (second < 0xDC00 || second > 0xDFFF) fail("half of a surrogate pair is no character");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  /// What follows a backslash.
  CharacterSet escape(bool in_class) {
    if (at_end()) fail("a backslash at the end");
    const auto one = [](char32_t character) { return CharacterSet{{character, character}}; };
    const char letter = pattern_[position_];
    if (static_cast<uint8_t>(letter) >= 0x80) fail("a backslash before a character that needs none");
    ++position_;
    switch (letter) {
      case 'd':
        return kDigits;
      case 'D':
        return complement(kDigits);
      case 'w':
        return kWord;
      case 'W':
        return complement(kWord);
      case 's':
        return kSpace;
      case 'S':
        return complement(kAnySpace);
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'x':
        return one(hexadecimal(2));
      case 'u':
        return one(unicode_escape());
      case '0':
        if (!at_end() && pattern_[position_] >= '0' && pattern_[position_] <= '9')
          fail("octal escapes are not supported");
        return one(0);
      case 'b':
        if (in_class) return one('\b');
        break;
      default:
        if ((letter < 'a' || letter > 'z') && (letter < 'A' || letter > 'Z') && (letter < '0' || letter > '9')) {
          return one(static_cast<char32_t>(letter));
        }
    }
    --position_;
    fail("this escape is not supported");
  }

  std::string_view pattern_;
  RegexText text_;
  size_t position_ = 0;
  Grammar grammar_;
  std::map<CharacterSet, const GrammarRule*> rules_;
};

}  // namespace

Grammar parse_regex(std::string_view pattern, RegexText text) {
  return Parser(pattern, text).parse();
}

}  // namespace fledge::infer
