#pragma once

#include <cstdint>

#include "base/random.h"

namespace fledge::train {

/// A pseudo-random permutation of [0, size), computed for one index at a time in constant memory: a balanced Feistel
/// network over the next even number of bits (Luby and Rackoff, "How to construct pseudorandom permutations", 1988),
/// applied again while it leaves the range (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite domains",
/// 2002). The same seed, stream and number give the same permutation on every machine.
class Permutation {
 public:
  /// size > 0. Every `number` (an epoch, say) is another permutation of the same stream.
  Permutation(uint64_t size, uint64_t seed, uint64_t stream, uint64_t number);

  /// Where `index` (below size) goes.
  uint64_t operator()(uint64_t index) const;
  uint64_t size() const { return size_; }

 private:
  uint64_t encrypt(uint64_t value) const;

  base::Random random_;
  uint64_t size_, number_;
  int half_bits_;
};

}  // namespace fledge::train
