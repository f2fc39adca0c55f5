#pragma once

#include <string>
#include <vector>

#include "infer/constraint/json_text.h"

namespace fledge::infer {

struct ObjectParts {
  struct Member {
    std::string name;
    GrammarPointer value;
    bool required = false;
  };
  std::vector<Member> members;        ///< in the order in which they are written
  std::vector<std::string> excluded;  ///< other names that must not occur
  GrammarPointer additional;          ///< the value of a name that is none of these; null: no other names
};

/// An object with these members.
GrammarPointer object_of(const JsonText& text, const ObjectParts& parts);

/// A list: `prefix` gives the first items, `item` (may be null where `most` is the size of `prefix`) the others.
GrammarPointer array_of(const JsonText& text, const std::vector<GrammarPointer>& prefix, const GrammarPointer& item,
                        int64_t least, int64_t most);

}  // namespace fledge::infer
