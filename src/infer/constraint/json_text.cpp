#include "infer/constraint/json_text.h"

#include <algorithm>

#include "base/json.h"
#include "infer/constraint/regex.h"

namespace fledge::infer {

JsonText::JsonText(Grammar& grammar) : grammar_(grammar) {
  const auto regex = [&](std::string_view pattern) {
    Grammar part = parse_regex(pattern);
    grammar_.rules.insert(grammar_.rules.end(), part.rules.begin(), part.rules.end());
    return rule(part.root);
  };
  space_ = optional_node(regex(" |\\n {0,32}"));
  const CharacterSet escaped = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
  character_ = rule(choice_node({utf8_node(complement(escaped)), literal_node("\\\""),
                                 regex(R"(\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|)"
                                       R"([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})))")}));
  number_ = regex("-?(?:0|[1-9][0-9]{0,18})(?:\\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,2})?");
  auto value = std::make_shared<GrammarRule>();
  grammar_.rules.push_back(value);
  value_ = call_node(value.get());
  const GrammarPointer member =
      sequence_node({string(0, -1), literal_node(":"), optional_node(literal_node(" ")), value_});
  object_ =
      rule(enclosed('{', sequence_node({member, repeat_node(sequence_node({comma(), member}), 0, -1)}), '}', true));
  array_ =
      rule(enclosed('[', sequence_node({value_, repeat_node(sequence_node({comma(), value_}), 0, -1)}), ']', true));
  value->body = choice_node(
      {object_, array_, string(0, -1), number_, literal_node("true"), literal_node("false"), literal_node("null")});
}

GrammarPointer JsonText::rule(GrammarPointer body) const {
  grammar_.rules.push_back(std::make_shared<GrammarRule>(GrammarRule{std::move(body)}));
  return call_node(grammar_.rules.back().get());
}

GrammarPointer JsonText::string(int64_t least, int64_t most) const {
  return sequence_node({literal_node("\""), repeat_node(character_, least, most), literal_node("\"")});
}

GrammarPointer JsonText::comma() const {
  return sequence_node({literal_node(","), space_});
}

GrammarPointer JsonText::enclosed(char open, GrammarPointer inside, char close, bool may_be_empty) const {
  GrammarPointer filled = sequence_node({space_, std::move(inside), space_});
  if (may_be_empty) filled = optional_node(std::move(filled));
  return sequence_node({literal_node({&open, 1}), std::move(filled), literal_node({&close, 1})});
}

GrammarPointer JsonText::name(const std::string& name) const {
  return sequence_node({literal_node(base::OrderedJson(name).dump() + ":"), optional_node(literal_node(" "))});
}

namespace {

constexpr uint64_t kLargest = 9999999999999999999U;  // 19 digits

GrammarPointer digits(int64_t least, int64_t most) {
  return repeat_node(range_node('0', '9'), least, most);
}

/// The digit strings from `low` to `high`, which have one length.
GrammarPointer between(std::string_view low, std::string_view high) {
  if (low.empty()) return literal_node("");
  const auto count = static_cast<int64_t>(low.size());
  const std::string_view low_rest = low.substr(1), high_rest = high.substr(1);
  const std::string zeros(low_rest.size(), '0'), nines(low_rest.size(), '9');
  if (low_rest == zeros && high_rest == nines) {
    return sequence_node(
        {range_node(static_cast<uint8_t>(low[0]), static_cast<uint8_t>(high[0])), digits(count - 1, count - 1)});
  }
  if (low[0] == high[0]) return sequence_node({literal_node(low.substr(0, 1)), between(low_rest, high_rest)});
  std::vector<GrammarPointer> parts = {sequence_node({literal_node(low.substr(0, 1)), between(low_rest, nines)}),
                                       sequence_node({literal_node(high.substr(0, 1)), between(zeros, high_rest)})};
  if (low[0] + 1 < high[0]) {
    parts.push_back(sequence_node({range_node(static_cast<uint8_t>(low[0] + 1), static_cast<uint8_t>(high[0] - 1)),
                                   digits(count - 1, count - 1)}));
  }
  return choice_node(std::move(parts));
}

/// The integers of [low, high] without leading zeros; matches nothing where that is empty.
GrammarPointer magnitudes(uint64_t low, uint64_t high) {
  std::vector<GrammarPointer> parts;
  while (low <= high) {
    const std::string first = std::to_string(low);
    const std::string nines(first.size(), '9');
    const uint64_t last = std::min<uint64_t>(high, std::stoull(nines));
    parts.push_back(between(first, std::to_string(last)));
    if (last == high) break;
    low = last + 1;
  }
  return choice_node(std::move(parts));
}

uint64_t magnitude(int64_t value) {
  return value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
}

GrammarPointer fraction() {
  return sequence_node({literal_node("."), digits(1, 17)});
}

/// The numbers without a sign from `low` to `high`.
GrammarPointer unsigned_numbers(uint64_t low, bool low_included, uint64_t high, bool high_included) {
  const GrammarPointer zeros = repeat_node(literal_node("0"), 0, 16);
  const GrammarPointer some = sequence_node({literal_node("."), zeros, range_node('1', '9'), digits(0, 1)});
  const GrammarPointer none = sequence_node({literal_node("."), literal_node("0")});
  std::vector<GrammarPointer> parts;
  if (low > high) return choice_node({});
  if (low < high) {
    const GrammarPointer at_low = literal_node(std::to_string(low));
    parts.push_back(low_included ? sequence_node({at_low, optional_node(fraction())}) : sequence_node({at_low, some}));
    if (high - low > 1) parts.push_back(sequence_node({magnitudes(low + 1, high - 1), optional_node(fraction())}));
  }
  if (high_included && (low < high || low_included)) {
    parts.push_back(sequence_node({literal_node(std::to_string(high)), optional_node(none)}));
  }
  return choice_node(std::move(parts));
}

GrammarPointer negative(GrammarPointer part) {
  return sequence_node({literal_node("-"), std::move(part)});
}

}  // namespace

GrammarPointer integer_node(const NumberBounds& bounds) {
  std::vector<GrammarPointer> parts;
  if (!bounds.lower || *bounds.lower < 0) {
    const uint64_t low = bounds.upper && *bounds.upper < 0 ? magnitude(*bounds.upper) : 1;
    parts.push_back(negative(magnitudes(low, bounds.lower ? magnitude(*bounds.lower) : kLargest)));
  }
  if (!bounds.upper || *bounds.upper >= 0) {
    const uint64_t low = bounds.lower && *bounds.lower > 0 ? magnitude(*bounds.lower) : 0;
    parts.push_back(magnitudes(low, bounds.upper ? magnitude(*bounds.upper) : kLargest));
  }
  return choice_node(std::move(parts));
}

GrammarPointer bounded_number_node(const NumberBounds& bounds) {
  std::vector<GrammarPointer> parts;
  if (!bounds.lower || *bounds.lower < 0) {
    // Minus zero is left to the other side, where it has no sign.
    const bool ends = bounds.upper && *bounds.upper < 0;
    parts.push_back(
        negative(unsigned_numbers(ends ? magnitude(*bounds.upper) : 0, ends && bounds.upper_included,
                                  bounds.lower ? magnitude(*bounds.lower) : kLargest, bounds.lower_included)));
  }
  if (!bounds.upper || *bounds.upper >= 0) {
    const bool begins = bounds.lower && *bounds.lower >= 0;
    parts.push_back(unsigned_numbers(begins ? magnitude(*bounds.lower) : 0, !begins || bounds.lower_included,
                                     bounds.upper ? magnitude(*bounds.upper) : kLargest, bounds.upper_included));
  }
  return choice_node(std::move(parts));
}

}  // namespace fledge::infer
