#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "tensor/cpu/block_rows.h"
#include "tensor/float16.h"

// Quantizers of the types with scales of scales. Each group's scale is searched: candidates around the one that spans
// the group's range, each followed by the least squares fit for the numbers that it gives. The group scales are then
// rounded to multiples of the block's scale, and the neighbouring multiples are tried as well.
namespace fledge::tensor::cpu {
namespace {

constexpr int kElements = 256;

int nearest(float value, int low, int high) {
  return static_cast<int>(std::nearbyint(std::clamp(value, static_cast<float>(low), static_cast<float>(high))));
}

float inverse_of(float scale) {
  const float inverse = 1.0f / scale;
  return scale == 0 || !std::isfinite(inverse) ? 0 : inverse;
}

void store_f16(std::byte* block, size_t offset, uint16_t bits) {
  std::memcpy(block + offset, &bits, sizeof bits);
}

// q4_k: 32 elements of a group as scale * q - minimum.

constexpr int kWide = 32;

struct Affine {
  float scale = 0, minimum = 0;  // minimum >= 0
};

float affine_error(const float* values, const float* weights, float scale, float minimum) {
  const float inverse = inverse_of(scale);
  float error = 0;
  for (int i = 0; i < kWide; ++i) {
    const auto q = static_cast<float>(nearest((values[i] + minimum) * inverse, 0, 15));
    const float difference = scale * q - minimum - values[i];
    error += weights[i] * difference * difference;
  }
  return error;
}

/// The scale and minimum of least square error for the numbers that `guess` gives.
Affine fit_affine(const float* values, const float* weights, Affine guess) {
  const float inverse = inverse_of(guess.scale);
  float w = 0, x = 0, q = 0, qq = 0, qx = 0;  // weighted sums
  for (int i = 0; i < kWide; ++i) {
    const auto number = static_cast<float>(nearest((values[i] + guess.minimum) * inverse, 0, 15));
    w += weights[i];
    x += weights[i] * values[i];
    q += weights[i] * number;
    qq += weights[i] * number * number;
    qx += weights[i] * number * values[i];
  }
  const float determinant = w * qq - q * q;
  if (!(determinant > 0)) return guess;
  const Affine fit{(w * qx - x * q) / determinant, (q * qx - qq * x) / determinant};
  if (fit.minimum >= 0) return fit.scale > 0 ? fit : guess;
  return qq > 0 && qx > 0 ? Affine{qx / qq, 0} : guess;
}

Affine search_affine(const float* values, const float* weights) {
  const auto [low_end, high_end] = std::minmax_element(values, values + kWide);
  const float low = std::min(0.0f, *low_end), range = std::max(0.0f, *high_end) - low;
  if (range == 0) return {};
  Affine best{range / 15.0f, -low};
  float best_error = affine_error(values, weights, best.scale, best.minimum);
  for (int step = -10; step <= 10; ++step) {
    const Affine guess{range / (15.0f + 0.1f * static_cast<float>(step)), -low};
    const Affine fit = fit_affine(values, weights, guess);
    const float error = affine_error(values, weights, fit.scale, fit.minimum);
    if (error < best_error) {
      best_error = error;
      best = fit;
    }
  }
  return best;
}

/// Writes the inverse of group_scale().
void store_group_scales(const std::array<GroupScale, 8>& groups, uint8_t* packed) {
  std::fill_n(packed, 12, uint8_t{0});
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = groups[static_cast<size_t>(group)];
    if (group < 4) {
      packed[group] = static_cast<uint8_t>(packed[group] | scale);
      packed[group + 4] = static_cast<uint8_t>(packed[group + 4] | minimum);
    } else {
      packed[group + 4] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
      packed[group - 4] = static_cast<uint8_t>(packed[group - 4] | scale >> 4 << 6);
      packed[group] = static_cast<uint8_t>(packed[group] | minimum >> 4 << 6);
    }
  }
}

// q6_k: 16 elements of a group as scale * q.

constexpr int kNarrow = 16;

float symmetric_error(const float* values, const float* weights, float scale) {
  const float inverse = inverse_of(scale);
  float error = 0;
  for (int i = 0; i < kNarrow; ++i) {
    const float difference = scale * static_cast<float>(nearest(values[i] * inverse, -32, 31)) - values[i];
    error += weights[i] * difference * difference;
  }
  return error;
}

float search_symmetric(const float* values, const float* weights) {
  float peak = 0;
  for (int i = 0; i < kNarrow; ++i) {
    if (std::fabs(values[i]) > std::fabs(peak)) peak = values[i];
  }
  if (peak == 0) return 0;
  float best = peak / -32.0f, best_error = symmetric_error(values, weights, best);
  for (int step = -9; step <= 9; ++step) {
    const float guess = -(32.0f + 0.1f * static_cast<float>(step)) / peak;
    float qq = 0, qx = 0;
    for (int i = 0; i < kNarrow; ++i) {
      const auto number = static_cast<float>(nearest(values[i] * guess, -32, 31));
      qq += weights[i] * number * number;
      qx += weights[i] * number * values[i];
    }
    if (!(qq > 0)) continue;
    const float error = symmetric_error(values, weights, qx / qq);
    if (error < best_error) {
      best_error = error;
      best = qx / qq;
    }
  }
  return best;
}

}  // namespace

void quantize_q4_k(const float* values, std::byte* block) {
  std::array<float, kElements> weights;
  std::array<Affine, 8> fits;
  float largest_scale = 0, largest_minimum = 0;
  for (size_t group = 0; group < 8; ++group) {
    const float* x = values + group * kWide;
    float* w = weights.data() + group * kWide;
    float squares = 0;
    for (int i = 0; i < kWide; ++i) squares += x[i] * x[i];
    // Large weights matter more, but none is forgotten.
    for (int i = 0; i < kWide; ++i) w[i] = std::sqrt(squares / kWide) + std::fabs(x[i]);
    fits[group] = search_affine(x, w);
    largest_scale = std::max(largest_scale, fits[group].scale);
    largest_minimum = std::max(largest_minimum, fits[group].minimum);
  }
  const uint16_t scale_bits = to_f16(largest_scale / 63.0f), minimum_bits = to_f16(largest_minimum / 63.0f);
  const float d = from_f16(scale_bits), dmin = from_f16(minimum_bits);
  std::array<GroupScale, 8> groups{};
  auto* q = reinterpret_cast<uint8_t*>(block + 16);
  std::fill_n(q, kElements / 2, uint8_t{0});
  for (size_t group = 0; group < 8; ++group) {
    const float* x = values + group * kWide;
    const int scale = nearest(fits[group].scale * inverse_of(d), 0, 63);
    const int minimum = nearest(fits[group].minimum * inverse_of(dmin), 0, 63);
    float best_error = -1;
    for (int s = std::max(0, scale - 1); s <= std::min(63, scale + 1); ++s) {
      for (int m = std::max(0, minimum - 1); m <= std::min(63, minimum + 1); ++m) {
        const float error =
            affine_error(x, weights.data() + group * kWide, d * static_cast<float>(s), dmin * static_cast<float>(m));
        if (best_error >= 0 && error >= best_error) continue;
        best_error = error;
        groups[group] = {static_cast<uint8_t>(s), static_cast<uint8_t>(m)};
      }
    }
    const float inverse = inverse_of(d * static_cast<float>(groups[group].scale));
    const float offset = dmin * static_cast<float>(groups[group].minimum);
    for (size_t i = 0; i < kWide; ++i) {
      const int number = nearest((x[i] + offset) * inverse, 0, 15);
      uint8_t& byte = q[group / 2 * 32 + i];
      byte = static_cast<uint8_t>(byte | number << (group % 2 * 4));
    }
  }
  store_f16(block, 0, scale_bits);
  store_f16(block, 2, minimum_bits);
  store_group_scales(groups, reinterpret_cast<uint8_t*>(block + 4));
}

void quantize_q6_k(const float* values, std::byte* block) {
  std::array<float, kElements> weights;
  for (size_t i = 0; i < kElements; ++i) weights[i] = values[i] * values[i];
  std::array<float, 16> fits;
  float peak = 0;
  for (size_t group = 0; group < 16; ++group) {
    fits[group] = search_symmetric(values + group * kNarrow, weights.data() + group * kNarrow);
    if (std::fabs(fits[group]) > std::fabs(peak)) peak = fits[group];
  }
  const uint16_t bits = to_f16(peak / -128.0f);
  const float d = from_f16(bits);
  std::fill_n(block, 192, std::byte{0});
  auto* low = reinterpret_cast<uint8_t*>(block);
  auto* high = reinterpret_cast<uint8_t*>(block + 128);
  auto* scales = reinterpret_cast<int8_t*>(block + 192);
  for (size_t group = 0; group < 16; ++group) {
    const float* x = values + group * kNarrow;
    const int scale = nearest(fits[group] * inverse_of(d), -128, 127);
    float best_error = -1;
    for (int s = std::max(-128, scale - 1); s <= std::min(127, scale + 1); ++s) {
      const float error = symmetric_error(x, weights.data() + group * kNarrow, d * static_cast<float>(s));
      if (best_error >= 0 && error >= best_error) continue;
      best_error = error;
      scales[group] = static_cast<int8_t>(s);
    }
    const float inverse = inverse_of(d * static_cast<float>(scales[group]));
    for (size_t i = 0; i < kNarrow; ++i) {
      const int number = nearest(x[i] * inverse, -32, 31) + 32;
      const size_t element = group * kNarrow + i, half = element / 128, quarter = element / 32 % 4, lane = element % 32;
      uint8_t& nibbles = low[half * 64 + quarter % 2 * 32 + lane];
      nibbles = static_cast<uint8_t>(nibbles | (number & 15) << (quarter / 2 * 4));
      high[half * 32 + lane] = static_cast<uint8_t>(high[half * 32 + lane] | number >> 4 << (2 * quarter));
    }
  }
  store_f16(block, 208, bits);
}

}  // namespace fledge::tensor::cpu
