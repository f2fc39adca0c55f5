#pragma once

#include <string>
#include <string_view>

namespace fledge::base {

/// Levenshtein distance in bytes.
size_t edit_distance(std::string_view a, std::string_view b);

/// "Did you mean": the candidate nearest to `word` by edit distance, or empty where none is near.
template <typename Range>
std::string nearest(std::string_view word, const Range& candidates) {
  std::string best;
  size_t best_distance = word.size() / 2 + 2;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace fledge::base
