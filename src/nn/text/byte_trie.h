#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace fledge::nn {

/// A trie over byte strings with a value (0 or greater) at each key. The children of a node lie side by side, by rising
/// byte, so that a step is a search among a few bytes. Immutable after construction.
class ByteTrie {
 public:
  using Node = uint32_t;
  static constexpr Node kRoot = 0, kNone = 0;  ///< the root is nobody's child

  ByteTrie() : ByteTrie(std::vector<std::pair<std::string_view, int32_t>>()) {}

  /// Keys in any order; an empty one is left out, and of equal ones the last one counts. The strings are not kept.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> keys);

  /// The node below `node` under `byte`, or kNone.
  Node child(Node node, uint8_t byte) const {
    if (node == kRoot) return from_root_[byte];
    const uint32_t begin = first_child_[node], count = first_child_[node + 1] - begin;
    if (count == 0) return kNone;
    const uint8_t* labels = labels_.data() + begin;
    if (count > kLinear) {
      const void* found = std::memchr(labels, byte, count);
      return found == nullptr ? kNone : begin + static_cast<uint32_t>(static_cast<const uint8_t*>(found) - labels);
    }
    for (uint32_t i = 0; i < count; ++i) {
      if (labels[i] == byte) return begin + i;
    }
    return kNone;
  }

  /// The value of the key that ends at `node`, or -1.
  int32_t value(Node node) const { return values_[node]; }

  /// Calls visit(length, value) for every key that begins `text`, the shortest first.
  template <typename Visit>
  void for_each_prefix(std::string_view text, const Visit& visit) const {
    Node node = kRoot;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == kNone) return;
      if (values_[node] >= 0) visit(i + 1, values_[node]);
    }
  }

 private:
  static constexpr uint32_t kLinear = 6;

  std::vector<uint32_t> first_child_;  // of node n; its children end where those of node n + 1 begin
  std::vector<uint8_t> labels_;        // the byte that leads to a node
  std::vector<int32_t> values_;
  uint32_t from_root_[256] = {};
};

}  // namespace fledge::nn
