#pragma once

#include "tensor/cpu/gemm_pack_avx512-inl.h"

// The product of two panels with 2 x 2 tiles of 16 x 16 sums, written over a type that does the tile operations: the
// processor's own, or plain loops that the tests run on machines without AMX. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

constexpr int kTile = 16;       ///< rows of a tile, and columns of a tile of sums
constexpr int kTileDepth = 32;  ///< bf16 elements of depth that one instruction takes
constexpr int kTileSums = 2 * kTile;
constexpr int64_t kTileRowBytes = 64;
/// How far ahead packing and products of few rows ask for what they read from memory: the processor's own prefetcher
/// stops at every page of 4 KiB, and follows few rows at a time.
constexpr int64_t kPrefetchPanelBytes = 4096, kPrefetchRowBytes = 512;
/// Shorter panels (those of attention) do not stand one behind the other.
constexpr int64_t kPrefetchDepth = 256;

/// 2 x 2 tiles in plain C++, with the order of additions of TDPBF16PS (Intel's manual, volume 2): the products of even
/// and those of odd depth are summed apart from zero, then both at once join the sum.
class EmulatedTiles {
 public:
  static void configure() {}
  void zero() { memset(sums_, 0, sizeof sums_); }
  void load(const float* c, int64_t stride) { load_rows(c, stride, 2 * kTile); }
  void load_upper(const float* c, int64_t stride) { load_rows(c, stride, kTile); }
  void step(const char* a, const char* b) {
    multiply(0, a, b);
    multiply(kTile, a + kTile * kTileRowBytes, b);
  }
  void step_upper(const char* a, const char* b) { multiply(0, a, b); }
  void store(float* c, int64_t stride) const { store_rows(c, stride, 2 * kTile); }
  void store_upper(float* c, int64_t stride) const { store_rows(c, stride, kTile); }

 private:
  void multiply(int first_row, const char* a, const char* b) {
    for (int row = 0; row < kTile; ++row) {
      float sums[2][kTileSums] = {};
      for (int k = 0; k < kTileDepth; ++k) {
        const float left = element(a + row * kTileRowBytes, k);
        for (int column = 0; column < kTileSums; ++column) {
          float& sum = sums[k % 2][column];
          sum = __builtin_fmaf(left, element(b + k / 2 * kTileSums * 4, 2 * column + k % 2), sum);
        }
      }
      for (int column = 0; column < kTileSums; ++column) {
        sums_[first_row + row][column] += sums[0][column] + sums[1][column];
      }
    }
  }
  static float element(const char* row, int index) {
    uint16_t bits;
    memcpy(&bits, row + 2 * index, sizeof bits);
    return bits_to_float(uint32_t{bits} << 16);
  }
  void load_rows(const float* c, int64_t stride, int rows) {
    for (int row = 0; row < rows; ++row) memcpy(sums_[row], c + row * stride, sizeof sums_[row]);
  }
  void store_rows(float* c, int64_t stride, int rows) const {
    for (int row = 0; row < rows; ++row) memcpy(c + row * stride, sums_[row], sizeof sums_[row]);
  }

  float sums_[kTileSums][kTileSums];
};

/// Tiles are loaded and stored whole: a part of C that is smaller takes the way through `tile`.
inline void read_part(const float* c, int64_t c_stride, int64_t rows, int64_t columns,
                      float (&tile)[kTileSums][kTileSums]) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int column = 0; column < kTileSums; column += kBlock) {
      const __m512 sums = _mm512_maskz_loadu_ps(first_of_16(columns - column), c + row * c_stride + column);
      _mm512_storeu_ps(&tile[row][column], sums);
    }
  }
}

inline void write_part(const float (&tile)[kTileSums][kTileSums], float* c, int64_t c_stride, int64_t rows,
                       int64_t columns) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; column += kBlock) {
      const __m512 sums = _mm512_loadu_ps(&tile[row][column]);
      _mm512_mask_storeu_ps(c + row * c_stride + column, first_of_16(columns - column), sums);
    }
  }
}

/// Adds the products of a whole depth to the tiles. With at most 16 rows (generation) the lower tiles are left out.
template <class Tiles>
void step_through(Tiles& tiles, int64_t depth, const void* a_panel, const void* b_panel, bool upper) {
  const char* a = static_cast<const char*>(a_panel);
  const char* b = static_cast<const char*>(b_panel);
  for (int64_t k = 0; k < depth; k += kTileDepth, a += kTileSums * kTileRowBytes, b += kTile * kTileSums * 4) {
    if (upper) {
      if (depth >= kPrefetchDepth) {
#pragma GCC unroll 32
        for (int line = 0; line < kTile * kTileSums * 4; line += 64) {
          _mm_prefetch(b + kPrefetchPanelBytes + line, _MM_HINT_T0);
        }
      }
      tiles.step_upper(a, b);
    } else {
      tiles.step(a, b);
    }
  }
}

template <class Tiles>
void multiply_tiles(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                    int64_t used_rows, int64_t used_columns, bool accumulate) {
  Tiles::configure();
  Tiles tiles;
  if (used_rows == 2 * kTile && used_columns == kTileSums) {
    accumulate ? tiles.load(c, c_stride) : tiles.zero();
    step_through(tiles, depth, a_panel, b_panel, false);
    tiles.store(c, c_stride);
    return;
  }
  alignas(64) float sums[kTileSums][kTileSums];  // what is not read below takes part in sums that nobody wants
  const bool upper = used_rows <= kTile;
  if (accumulate) {
    read_part(c, c_stride, used_rows, used_columns, sums);
    upper ? tiles.load_upper(&sums[0][0], kTileSums) : tiles.load(&sums[0][0], kTileSums);
  } else {
    tiles.zero();
  }
  step_through(tiles, depth, a_panel, b_panel, upper);
  upper ? tiles.store_upper(&sums[0][0], kTileSums) : tiles.store(&sums[0][0], kTileSums);
  write_part(sums, c, c_stride, used_rows, used_columns);
}

template <typename Element>
void pack_tile_rows(const PanelSource& source, const Element* data, uint32_t* panel) {
  const bool along = source.depth_stride == 1;
  for (int64_t k = 0; k < source.depth; k += kTileDepth) {
    for (int lane = 0; lane < 2 * kTile; lane += kBlock, panel += kBlock * kBlock) {
      __m512i rows[kBlock];
      if (along) {
#pragma GCC unroll 16
        for (int i = 0; i < kBlock; ++i) {
          const Element* row = data + (lane + i) * source.lane_stride + k;
          _mm_prefetch(reinterpret_cast<const char*>(row) + kPrefetchRowBytes, _MM_HINT_T0);
        }
        load_block<Words::pairs>(source, data, lane, k, rows);
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < kBlock; ++i) {
          const int64_t at = k + 2 * i;
          rows[i] = words_across_lanes<Words::pairs>(data + at * source.depth_stride + lane, source.depth_stride,
                                                     first_of_16(source.lanes - lane), source.depth - at);
        }
        transpose(rows);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) _mm512_storeu_si512(panel + i * kBlock, rows[i]);
    }
  }
}

template <class Source, typename Element>
void pack_tile_rows_portable(const PanelSource& source, const Element* data, uint16_t* panel) {
  for (int64_t k = 0; k < source.depth; k += kTileDepth) {
    for (int64_t lane = 0; lane < 2 * kTile; ++lane) {
      for (int64_t i = k; i < k + kTileDepth; ++i) {
        const bool inside = i < source.depth && lane < source.lanes;
        *panel++ = inside ? Source::bf16(data + i * source.depth_stride + lane * source.lane_stride) : uint16_t{0};
      }
    }
  }
}

/// panel[padded K / 32][32 rows][32]: the rows of a tile stand together.
inline void pack_tiles(const PanelSource& source, void* panel) {
  const bool contiguous = source.depth_stride == 1 || source.lane_stride == 1;
  const auto* halves = static_cast<const uint16_t*>(source.data);
  const auto* floats = static_cast<const float*>(source.data);
  if (contiguous && source.is_bf16) {
    pack_tile_rows(source, halves, static_cast<uint32_t*>(panel));
  } else if (contiguous) {
    pack_tile_rows(source, floats, static_cast<uint32_t*>(panel));
  } else if (source.is_bf16) {
    pack_tile_rows_portable<Bf16Source>(source, halves, static_cast<uint16_t*>(panel));
  } else {
    pack_tile_rows_portable<F32Source>(source, floats, static_cast<uint16_t*>(panel));
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu
