#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nn/text/tokenizer.h"

namespace fledge::infer {

/// The tokens of a vocabulary as a tree over their bytes, in the order of a walk. Immutable; shared by all constraints.
class VocabularyTrie {
 public:
  struct Node {
    uint32_t after = 0;  ///< the first node that is not below this one
    uint32_t first_token = 0, last_token = 0;
    uint16_t depth = 0;  ///< bytes before this node's byte
    uint8_t byte = 0;
  };

  /// `tokens[id]`: the bytes of a token; an empty one is never allowed. Throws base::Error for more than 2^31 tokens or
  /// a token of more than 65535 bytes.
  explicit VocabularyTrie(const std::vector<std::string>& tokens);
  /// Special tokens and ids that are no token count as empty.
  static VocabularyTrie from(const nn::Tokenizer& tokenizer);

  std::span<const Node> nodes() const { return nodes_; }
  /// The ids at a node: [first_token, last_token).
  std::span<const int32_t> ids(const Node& node) const {
    return std::span(ids_).subspan(node.first_token, node.last_token - node.first_token);
  }
  std::string_view bytes(int32_t id) const;
  size_t size() const { return offsets_.size() - 1; }

 private:
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;  ///< of the tokens that are not empty, by their bytes
  std::string bytes_;
  std::vector<size_t> offsets_;
};

}  // namespace fledge::infer
