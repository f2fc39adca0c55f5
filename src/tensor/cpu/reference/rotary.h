#pragma once

#include <cstdint>

/// The rotation of one head; see tensor/rotary.h.
namespace fledge::tensor::cpu::reference {

/// angles: D / 2 cosines and D / 2 sines. out may be x.
inline void rotate_head(const double* x, int64_t size, const double* angles, bool inverse, double* out) {
  const int64_t half = size / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double c = angles[i], s = inverse ? -angles[half + i] : angles[half + i];
    const double a = x[i], b = x[half + i];
    out[i] = a * c - b * s;
    out[half + i] = b * c + a * s;
  }
}

}  // namespace fledge::tensor::cpu::reference
