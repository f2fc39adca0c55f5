#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

/// Plain scalar kernels, one element at a time: what reference mode (f64) and odd strides run on, and what tests
/// compare the fast kernels with.
namespace fledge::tensor::cpu::reference {

/// IEEE 754 binary16, the type f16.
inline double from_f16(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  double magnitude = 0;
  if (exponent == 0x1f) {
    magnitude = fraction != 0 ? NAN : INFINITY;
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, -24);
  } else {
    magnitude = std::ldexp(fraction + 1024, exponent - 25);
  }
  return std::copysign(magnitude, (bits & 0x8000) != 0 ? -1.0 : 1.0);
}

/// Rounds to nearest, ties to even.
inline uint16_t to_f16(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::abs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;  // half way between the greatest f16 and what would come next
  if (magnitude < 0x1p-14) return static_cast<uint16_t>(sign | std::lrint(std::ldexp(magnitude, 24)));
  int exponent = 0;
  const double fraction = std::frexp(magnitude, &exponent);  // [0.5, 1)
  // A fraction that rounds up to 2048 carries into the exponent, as it should.
  const auto rounded = static_cast<uint32_t>(std::lrint(std::ldexp(fraction, 11))) - 1024;
  return static_cast<uint16_t>(sign | ((static_cast<uint32_t>(exponent + 14) << 10) + rounded));
}

/// Element `index` of an array of floating-point elements.
inline double get(const void* data, DType dtype, int64_t index) {
  switch (dtype) {
    case DType::f64:
      return static_cast<const double*>(data)[index];
    case DType::f32:
      return static_cast<const float*>(data)[index];
    case DType::bf16:
      return static_cast<const bf16*>(data)[index];
    default:
      return from_f16(static_cast<const uint16_t*>(data)[index]);
  }
}

inline void set(void* data, DType dtype, int64_t index, double value) {
  switch (dtype) {
    case DType::f64:
      static_cast<double*>(data)[index] = value;
      return;
    case DType::f32:
      static_cast<float*>(data)[index] = static_cast<float>(value);
      return;
    case DType::bf16:
      static_cast<bf16*>(data)[index] = tensor::convert<bf16>(value);
      return;
    default:
      static_cast<uint16_t*>(data)[index] = to_f16(value);
  }
}

/// out[c] = sum over r of x[r, c].
template <typename T, typename Sum>
void column_sums(const T* x, int64_t rows, int64_t columns, Sum* sums) {
  for (int64_t c = 0; c < columns; ++c) sums[c] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) sums[c] += static_cast<Sum>(x[r * columns + c]);
  }
}

}  // namespace fledge::tensor::cpu::reference
