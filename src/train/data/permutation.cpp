#include "train/data/permutation.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace fledge::train {
namespace {

constexpr uint64_t kRounds = 6;

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t seed, uint64_t stream, uint64_t number)
    : random_(seed, stream),
      size_(size),
      number_(number),
      half_bits_(std::max(1, (static_cast<int>(std::bit_width(size - 1)) + 1) / 2)) {
  assert(size > 0);
}

uint64_t Permutation::encrypt(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const uint64_t mixed = left ^ (random_.block(right, number_ * kRounds + round)[0] & mask);
    left = right;
    right = mixed;
  }
  return (left << half_bits_) | right;
}

uint64_t Permutation::operator()(uint64_t index) const {
  assert(index < size_);
  // The network permutes a range of at most four times the size, so the walk is short, and it must come back into the
  // range because it started there.
  do {
    index = encrypt(index);
  } while (index >= size_);
  return index;
}

}  // namespace fledge::train
