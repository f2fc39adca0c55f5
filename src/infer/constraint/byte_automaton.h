#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "infer/constraint/grammar.h"

namespace fledge::infer {

/// A grammar as a nondeterministic automaton over bytes whose edges may call a rule (a recursive transition network).
/// From every state that is left, the end of the text can be reached. Immutable.
class ByteAutomaton {
 public:
  enum class EdgeKind : uint8_t { bytes, empty, call };
  struct Edge {
    uint32_t from = 0, target = 0;  ///< call: where to go on after the rule
    EdgeKind kind = EdgeKind::empty;
    uint8_t low = 0, high = 0;  ///< bytes
    uint32_t start = 0;         ///< call: the first state of the rule
  };

  /// Throws base::UsageError where the grammar is too large, matches no text, or recurs without reading anything.
  explicit ByteAutomaton(const Grammar& grammar);

  uint32_t start() const { return 0; }
  std::span<const Edge> edges(uint32_t state) const {
    return std::span(edges_).subspan(first_edge_[state], first_edge_[state + 1] - first_edge_[state]);
  }
  /// Whether the rule (or the text) ends here.
  bool is_final(uint32_t state) const { return final_[state] != 0; }
  /// Whether nothing can follow within the rule: a call that goes on here needs no return.
  bool only_returns(uint32_t state) const { return only_returns_[state] != 0; }

  /// Bytes of one class are on the same edges everywhere.
  size_t class_count() const { return class_count_; }
  uint8_t class_of(uint8_t byte) const { return class_of_byte_[byte]; }

 private:
  class Builder;
  std::vector<uint8_t> reaches_end(bool with_bytes) const;
  void remove_dead_ends();
  void refuse_left_recursion() const;
  void index_edges();
  void find_returns();
  void find_classes();

  std::vector<Edge> edges_;
  std::vector<uint32_t> first_edge_, rule_starts_;
  std::vector<uint8_t> final_, only_returns_;
  std::array<uint8_t, 256> class_of_byte_{};
  size_t class_count_ = 0;
};

}  // namespace fledge::infer
