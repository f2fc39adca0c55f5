#include "tensor/cpu/quantized_avx512_vnni-inl.h"
#include "tensor/cpu/tiles_amx.h"

// Groups of 32 have scales of their own, so every group's integer sums leave the tiles and are added in f32 by the
// vector unit, with the same operations as in the VNNI kernel: the results have the same bits.
namespace fledge::tensor::cpu::amx {
namespace {

constexpr int kTile = 16;

/// The processor's tiles: sums in 0 and 1, activations in 4 and 5, numbers in 6 and 7. A group is taken in one step of
/// 32 or two of 16. Two slots, so that one group's tiles are loaded while the other's are multiplied.
class ProcessorTiles {
 public:
  template <int depth>
  static void configure() {
    static_assert(depth == 16 || depth == 32);
    ensure_tiles(depth == 16 ? TileShape::depth_16 : TileShape::depth_32);
  }
  /// One step's sums [16 rows][16 outputs].
  template <int slot>
  static void multiply(const int8_t* values, const uint8_t* numbers, int32_t* sums) {
    asm volatile("" ::: "memory");
    if constexpr (slot == 0) {
      _tile_zero(0);
      _tile_loadd(4, values, kGroup);
      _tile_loadd(6, numbers, kWordBytes);
      _tile_dpbsud(0, 4, 6);
      _tile_stored(0, sums, kPanelRows * 4);
    } else {
      _tile_zero(1);
      _tile_loadd(5, values, kGroup);
      _tile_loadd(7, numbers, kWordBytes);
      _tile_dpbsud(1, 5, 7);
      _tile_stored(1, sums, kPanelRows * 4);
    }
    asm volatile("" ::: "memory");
  }
};

/// The same in plain C++.
class EmulatedTiles {
 public:
  template <int depth>
  static void configure() {
    depth_ = depth;
  }
  template <int slot>
  static void multiply(const int8_t* values, const uint8_t* numbers, int32_t* sums) {
    for (int row = 0; row < kTile; ++row) {
      for (int output = 0; output < kPanelRows; ++output) {
        int32_t sum = 0;
        for (int i = 0; i < depth_; ++i) {
          sum += values[row * kGroup + i] * numbers[i / 4 * kWordBytes + output * 4 + i % 4];
        }
        sums[row * kPanelRows + output] = sum;
      }
    }
  }

 private:
  static thread_local int depth_;
};
thread_local int EmulatedTiles::depth_ = 0;

/// Adds 16 rows' sums of a step to their totals.
[[gnu::always_inline]] inline void add_scaled(const int32_t* sums, const int32_t* starts, __m512 weight_scale,
                                              const float* scales, __m512 (&totals)[kTile]) {
#pragma GCC unroll 16
  for (int row = 0; row < kTile; ++row) {
    __m512i dot = _mm512_load_si512(sums + row * kPanelRows);
    if (starts != nullptr) dot = _mm512_add_epi32(dot, _mm512_set1_epi32(starts[row]));
    const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_set1_ps(scales[row]));
    totals[row] = _mm512_fmadd_ps(Vnni::to_floats(dot), scale, totals[row]);
  }
}

/// A panel times 16 of a chunk's kRows rows, whose totals stay in registers. The tiles are one group ahead of the
/// vector unit, which otherwise would wait for each group's sums.
template <class Tiles, class Format, int kRows>
class TileProduct {
 public:
  TileProduct(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int first_row)
      : panel_(panel), groups_(groups), activations_(activations), first_row_(first_row) {}

  void run(float* sums, int64_t sums_stride) {
    __m512 totals[kTile];
#pragma GCC unroll 16
    for (int row = 0; row < kTile; ++row) totals[row] = _mm512_setzero_ps();
    if (groups_ > 0) multiply<0>(0);
    for (int64_t group = 0; group < groups_; group += 2) {
      if (group + 1 < groups_) multiply<1>(group + 1);
      add<0>(group, totals);
      if (group + 1 == groups_) break;
      if (group + 2 < groups_) multiply<0>(group + 2);
      add<1>(group + 1, totals);
    }
#pragma GCC unroll 16
    for (int row = 0; row < kTile; ++row) _mm512_storeu_ps(sums + (first_row_ + row) * sums_stride, totals[row]);
  }

 private:
  static constexpr int kSteps = Format::kHalves ? 2 : 1, kDepth = kGroup / kSteps;

  const uint8_t* numbers(int64_t group) const {
    return panel_ + group * Format::kGroupBytes;
  }
  int64_t rows_at(int64_t group) const {
    return group * kRows + first_row_;
  }

  template <int slot>
  [[gnu::always_inline]] void multiply(int64_t group) {
    const int8_t* values = activations_.values + rows_at(group) * kGroup;
    Tiles::template multiply<slot>(values, numbers(group), dots_[slot][0]);
    if constexpr (kSteps == 2) {
      Tiles::template multiply<slot>(values + kDepth, numbers(group) + kDepth / 4 * kWordBytes, dots_[slot][1]);
    }
  }

  template <int slot>
  [[gnu::always_inline]] void add(int64_t group, __m512 (&totals)[kTile]) const {
    const GroupScales<Vnni> scales =
        Format::scales(GroupScales<Vnni>{Vnni::zero(), Vnni::zero()}, numbers(group) + Format::kWeightBytes, 0);
    const float* row_scales = activations_.scales + rows_at(group);
#pragma GCC unroll 2
    for (int step = 0; step < kSteps; ++step) {
      const int32_t* starts =
          Format::kOffset ? activations_.starts + (group * kSteps + step) * kRows + first_row_ : nullptr;
      add_scaled(dots_[slot][step], starts, step == 0 ? scales.first : scales.second, row_scales, totals);
    }
    if constexpr (Format::kMinimum) {
      const float* row_sums = activations_.sums + rows_at(group);
#pragma GCC unroll 16
      for (int row = 0; row < kTile; ++row) {
        totals[row] = _mm512_fmadd_ps(scales.second, _mm512_set1_ps(row_sums[row]), totals[row]);
      }
    }
  }

  const uint8_t* panel_;
  int64_t groups_;
  const QuantizedRows& activations_;
  int first_row_;
  alignas(64) int32_t dots_[2][kSteps][kTile * kPanelRows];
};

template <class Tiles, class Format, int kRows>
void multiply_tiles(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, float* sums,
                    int64_t sums_stride) {
  Tiles::template configure<(Format::kHalves ? kGroup / 2 : kGroup)>();
  for (int row = 0; row < kRows; row += kTile) {
    TileProduct<Tiles, Format, kRows>(panel, groups, activations, row).run(sums, sums_stride);
  }
}

template <class Tiles, class Format>
void multiply_chunk(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int64_t rows, float* sums,
                    int64_t sums_stride) {
  if (rows == 2 * kTile) {
    multiply_tiles<Tiles, Format, 2 * kTile>(panel, groups, activations, sums, sums_stride);
  } else {
    multiply_tiles<Tiles, Format, kTile>(panel, groups, activations, sums, sums_stride);
  }
}

template <class Tiles>
void multiply_wide(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int64_t rows,
                   float* sums, int64_t sums_stride) {
  if (kind == PanelKind::wide_halves) {
    multiply_chunk<Tiles, Wide<Vnni, true, false>>(panel, groups, activations, rows, sums, sums_stride);
  } else if (kind == PanelKind::wide_minimum) {
    multiply_chunk<Tiles, Wide<Vnni, false, true>>(panel, groups, activations, rows, sums, sums_stride);
  } else {
    multiply_chunk<Tiles, Wide<Vnni, false, false>>(panel, groups, activations, rows, sums, sums_stride);
  }
}

}  // namespace

void multiply_quantized(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations,
                        int64_t rows, float* sums, int64_t sums_stride) {
  multiply_wide<ProcessorTiles>(kind, panel, groups, activations, rows, sums, sums_stride);
}

void release_quantized() {
  release_tiles();
}

void multiply_quantized_emulated(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations,
                                 int64_t rows, float* sums, int64_t sums_stride) {
  multiply_wide<EmulatedTiles>(kind, panel, groups, activations, rows, sums, sums_stride);
}

}  // namespace fledge::tensor::cpu::amx
