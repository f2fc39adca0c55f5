#pragma once

#include <string_view>

#include "infer/constraint/grammar.h"

namespace fledge::infer {

enum class RegexText : uint8_t {
  plain,       ///< the whole text must match
  json_string  ///< the inside of a JSON string; a match anywhere in it is enough, as JSON Schema's "pattern" has it
};

/// A regular expression as Python's `re` with re.ASCII and ECMAScript read it alike: literals, `.`, classes, \d \w \s
/// and their negations (\S also leaves out Unicode's white space), \n \r \t \f \v \0 \xHH \uXXXX, groups, alternation,
/// greedy and lazy quantifiers (which match the same texts), ^ and $ at the ends. Refused in one sentence: look-around,
/// back-references, \b, flags, \p{}, anchors elsewhere. Throws base::UsageError with the position in the pattern.
Grammar parse_regex(std::string_view pattern, RegexText text = RegexText::plain);

}  // namespace fledge::infer
