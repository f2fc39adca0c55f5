#include "tensor/cpu/quantized_avx512_vnni-inl.h"
#include "tensor/cpu/tiles_amx.h"

// Groups of 32 have scales of their own, so every group's integer sums leave the tiles and are added in f32 by the
// vector unit, with the same operations as in the VNNI kernel: the results have the same bits.
namespace fledge::tensor::cpu::amx {
namespace {

constexpr int kTile = 16;

/// The processor's tiles: sums in 0 and 1, activations in 4 and 5, numbers in 6 and 7. A group is taken in one step of
/// 32 or two of 16. Two slots, so that one step's tiles are loaded while the other's are multiplied.
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
inline void add_scaled(const int32_t* sums, const int32_t* starts, __m512 weight_scale, const float* scales,
                       float* totals) {
#pragma GCC unroll 16
  for (int row = 0; row < kTile; ++row) {
    __m512i dot = _mm512_load_si512(sums + row * kPanelRows);
    if (starts != nullptr) dot = _mm512_add_epi32(dot, _mm512_set1_epi32(starts[row]));
    const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_set1_ps(scales[row]));
    const __m512 total = _mm512_load_ps(totals + row * kPanelRows);
    _mm512_store_ps(totals + row * kPanelRows, _mm512_fmadd_ps(Vnni::to_floats(dot), scale, total));
  }
}

template <class Tiles, class Format, int kRows>
void multiply_tiles(const uint8_t* panel, int64_t groups, const QuantizedRows& activations, float* sums,
                    int64_t sums_stride) {
  constexpr int kSteps = Format::kHalves ? 2 : 1, kDepth = kGroup / kSteps;
  alignas(64) int32_t dots[2][kTile * kPanelRows];
  alignas(64) float totals[kRows * kPanelRows];
  memset(totals, 0, sizeof totals);
  Tiles::template configure<kDepth>();
  for (int64_t group = 0; group < groups; ++group) {
    const uint8_t* numbers = panel + group * Format::kGroupBytes;
    const GroupScales<Vnni> scales =
        Format::scales(GroupScales<Vnni>{Vnni::zero(), Vnni::zero()}, numbers + Format::kWeightBytes, 0);
    for (int tile = 0; tile < kRows; tile += kTile) {
      const int8_t* values = activations.values + (group * kRows + tile) * kGroup;
      const float* row_scales = activations.scales + group * kRows + tile;
      Tiles::template multiply<0>(values, numbers, dots[0]);
      if constexpr (kSteps == 2) {
        Tiles::template multiply<1>(values + kDepth, numbers + kDepth / 4 * kWordBytes, dots[1]);
      }
      for (int step = 0; step < kSteps; ++step) {
        const int32_t* starts = Format::kOffset ? activations.starts + (group * kSteps + step) * kRows + tile : nullptr;
        add_scaled(dots[step], starts, step == 0 ? scales.first : scales.second, row_scales,
                   totals + tile * kPanelRows);
      }
      if constexpr (Format::kMinimum) {
        for (int row = tile; row < tile + kTile; ++row) {
          const __m512 sum = _mm512_set1_ps(activations.sums[group * kRows + row]);
          float* total = totals + row * kPanelRows;
          _mm512_store_ps(total, _mm512_fmadd_ps(scales.second, sum, _mm512_load_ps(total)));
        }
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    _mm512_storeu_ps(sums + row * sums_stride, _mm512_load_ps(totals + row * kPanelRows));
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
