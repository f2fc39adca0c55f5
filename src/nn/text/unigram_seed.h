#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::nn {

/// A word of a text and how often it occurs.
struct CountedWord {
  std::string_view text;
  int64_t count;
};

/// A string that may become a token.
struct SeedPiece {
  std::string text;
  double weight;  ///< how often it occurs times its length in characters; of a letter how often it occurs
};

/// The strings inside words that occur at least twice (within `words`, which are distinct, weighted by their counts),
/// of 2 to `longest` characters, and every single character; of strings that always go on in the same way only the
/// longest. By a sorted list of all suffixes (Manber and Myers, 1993),
/// whose intervals of common beginnings are these strings (Abouelhoda et al., "Replacing suffix trees with enhanced
/// suffix arrays", 2004). At most `most` of them, the heaviest, beside the characters. Sorted by their bytes. The
/// result does not depend on the number of threads.
std::vector<SeedPiece> seed_pieces(const std::vector<CountedWord>& words, int64_t longest, size_t most);

}  // namespace fledge::nn
