#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "infer/constraint/grammar.h"
#include "infer/constraint/json_schema.h"
#include "infer/constraint/regex.h"
#include "infer/constraint/vocabulary_trie.h"
#include "infer/token_constraint.h"

namespace fledge::infer {

/// A grammar compiled against a vocabulary. May be shared by any number of requests and threads; the masks and states
/// that one request finds serve the others. Memory is bounded: at most 512 masks and about 20000 states are kept.
class CompiledConstraint : public std::enable_shared_from_this<CompiledConstraint> {
 public:
  /// Throws base::UsageError in one sentence where the grammar is too large, matches nothing or recurs without reading.
  static std::shared_ptr<CompiledConstraint> make(const Grammar& grammar,
                                                  std::shared_ptr<const VocabularyTrie> vocabulary);
  ~CompiledConstraint();

  /// A constraint at the beginning of its text, for one request. It keeps this object alive. Its allowed() throws
  /// base::Error where the vocabulary has no token to go on with, or where the grammar is too ambiguous to follow.
  std::shared_ptr<TokenConstraint> begin();

 private:
  class Cache;
  class Position;
  CompiledConstraint(const Grammar& grammar, std::shared_ptr<const VocabularyTrie> vocabulary);

  std::shared_ptr<const VocabularyTrie> vocabulary_;
  std::unique_ptr<Cache> cache_;
};

/// Each of these compiles and begins at once; a server keeps the CompiledConstraint for the next request.
std::shared_ptr<TokenConstraint> make_regex_constraint(std::string_view pattern,
                                                       std::shared_ptr<const VocabularyTrie> vocabulary);
std::shared_ptr<TokenConstraint> make_json_schema_constraint(const base::OrderedJson& schema,
                                                             std::shared_ptr<const VocabularyTrie> vocabulary);
/// Any JSON object.
std::shared_ptr<TokenConstraint> make_json_object_constraint(std::shared_ptr<const VocabularyTrie> vocabulary);
std::shared_ptr<TokenConstraint> make_choice_constraint(const std::vector<std::string>& texts,
                                                        std::shared_ptr<const VocabularyTrie> vocabulary);

}  // namespace fledge::infer
