#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace fledge::base {

/// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
/// A number is a function of a key and a counter and of nothing else, so a resumed run, a recomputed layer or another
/// number of processes draws the same. The key is (seed, stream); a stream names a use, such as one dropout layer.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream)
      : key_{static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(stream >> 32) * 0x85ebca6bu,
             static_cast<uint32_t>(seed >> 32) ^ static_cast<uint32_t>(stream)} {}

  /// Four independent uniform 32-bit numbers at a position.
  std::array<uint32_t, 4> block(uint64_t position, uint64_t high = 0) const {
    std::array<uint32_t, 4> c{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                              static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)};
    uint32_t k0 = key_[0], k1 = key_[1];
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }

  uint32_t key(int word) const { return key_[static_cast<size_t>(word)]; }

  /// Uniform in [0, 1) with 24 bits.
  float uniform(uint64_t position) const {
    return static_cast<float>(block(position / 4)[position % 4] >> 8) * 0x1p-24f;
  }

  /// Uniform in [0, 1) with 53 bits.
  double uniform_double(uint64_t position) const {
    const auto words = block(position);
    return static_cast<double>(((uint64_t{words[0]} << 32) | words[1]) >> 11) * 0x1p-53;
  }

  /// Normal with mean 0 and variance 1 (Box and Muller).
  double normal(uint64_t position) const {
    const auto words = block(position);
    const double u = (static_cast<double>(words[0]) + 1.0) * 0x1p-32;
    const double angle = static_cast<double>(words[1]) * (0x1p-32 * 6.283185307179586);
    return std::sqrt(-2.0 * std::log(u)) * std::cos(angle);
  }

  /// Uniform integer in [0, bound); bound > 0.
  uint64_t below(uint64_t bound, uint64_t position) const {
    const auto words = block(position);
    const uint64_t word = (uint64_t{words[0]} << 32) | words[1];
    return static_cast<uint64_t>((static_cast<unsigned __int128>(word) * bound) >> 64);
  }

 private:
  std::array<uint32_t, 2> key_;
};

}  // namespace fledge::base
