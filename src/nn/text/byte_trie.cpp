#include "nn/text/byte_trie.h"

#include <algorithm>

namespace fledge::nn {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> keys) {
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  // A node is a range of sorted keys that agree in their first `depth` bytes; nodes are made level by level.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, keys.size(), 0}};
  labels_ = {0};
  values_ = {-1};
  for (size_t node = 0; node < ranges.size(); ++node) {
    first_child_.push_back(static_cast<uint32_t>(ranges.size()));
    auto [at, end, depth] = ranges[node];
    for (; at < end && keys[at].first.size() == depth; ++at) {
      if (depth > 0) values_[node] = keys[at].second;
    }
    while (at < end) {
      const char byte = keys[at].first[depth];
      size_t next = at + 1;
      while (next < end && keys[next].first[depth] == byte) ++next;
      if (node == kRoot) from_root_[static_cast<uint8_t>(byte)] = static_cast<uint32_t>(ranges.size());
      ranges.push_back({at, next, depth + 1});
      labels_.push_back(static_cast<uint8_t>(byte));
      values_.push_back(-1);
      at = next;
    }
  }
  first_child_.push_back(static_cast<uint32_t>(ranges.size()));
}

}  // namespace fledge::nn
