#pragma once

#include <cstddef>
#include <cstdint>

namespace fledge::nn {

// The tables of unicode_data.cpp, which a script makes from the Unicode character database.

/// Code points from `first` to `last`, both included.
struct CodePointRange {
  uint32_t first, last;
};

/// Code points whose canonical combining class is `combining_class` (not 0).
struct CombiningRange {
  uint32_t first, last;
  uint8_t combining_class;
};

/// One step of canonical decomposition: `second` is 0 where the code point decomposes into a single other one.
/// `composes` says that NFC puts the two parts together again.
struct Decomposition {
  uint32_t code_point, first, second;
  bool composes;
};

extern const CodePointRange kLetterRanges[];  ///< General category L, rising.
extern const size_t kLetterRanges_count;
extern const CodePointRange kNumberRanges[];  ///< General category N, rising.
extern const size_t kNumberRanges_count;
extern const CombiningRange kCombiningRanges[];  ///< Rising.
extern const size_t kCombiningRanges_count;
extern const Decomposition kDecompositions[];  ///< Rising by code point; without Hangul syllables.
extern const size_t kDecompositions_count;

}  // namespace fledge::nn
