#include "infer/constraint/vocabulary_trie.h"

#include <algorithm>

#include "base/error.h"

namespace fledge::infer {
namespace {

constexpr size_t kLongestToken = 65535;

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

VocabularyTrie::VocabularyTrie(const std::vector<std::string>& tokens) {
  if (tokens.size() > size_t{INT32_MAX}) throw base::Error("a vocabulary of {} tokens is too large", tokens.size());
  offsets_.push_back(0);
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].size() > kLongestToken) throw base::Error("token {} has {} bytes", id, tokens[id].size());
    bytes_ += tokens[id];
    offsets_.push_back(bytes_.size());
    if (!tokens[id].empty()) ids_.push_back(static_cast<int32_t>(id));
  }
  std::ranges::stable_sort(ids_, {}, [&](int32_t id) { return bytes(id); });
  std::vector<uint32_t> open;  // the path to the newest node
  std::string_view before;
  const auto close_to = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back()) nodes_[open.back()].after = static_cast<uint32_t>(nodes_.size());
  };
  for (uint32_t index = 0; index < ids_.size(); ++index) {
    const std::string_view token = bytes(ids_[index]);
    const size_t shared = common_prefix(before, token);
    if (shared < before.size() || shared < token.size()) close_to(shared);
    for (size_t depth = shared; depth < token.size(); ++depth) {
      open.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, index, index, static_cast<uint16_t>(depth), static_cast<uint8_t>(token[depth])});
    }
    Node& node = nodes_[open.back()];
    if (node.first_token == node.last_token) node.first_token = index;
    node.last_token = index + 1;
    before = token;
  }
  close_to(0);
}

VocabularyTrie VocabularyTrie::from(const nn::Tokenizer& tokenizer) {
  std::vector<std::string> tokens(static_cast<size_t>(tokenizer.vocabulary_size()));
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    if (tokenizer.is_special(id)) continue;
    try {
      tokens[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
    } catch (const base::Error&) {
      // A gap in the ids: no token.
    }
  }
  return VocabularyTrie(tokens);
}

std::string_view VocabularyTrie::bytes(int32_t id) const {
  const auto index = static_cast<size_t>(id);
  return std::string_view(bytes_).substr(offsets_[index], offsets_[index + 1] - offsets_[index]);
}

}  // namespace fledge::infer
