#pragma once

#include "tensor/cpu/gemm_pack_avx512-inl.h"

// The product of two panels with 2 x 2 tiles of 16 x 16 sums, written over a type that does the tile operations: the
// processor's own, or plain loops that the tests run on machines without AMX. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

constexpr int kTile = 16;       ///< rows of a tile, and columns of a tile of sums
constexpr int kTileDepth = 32;  ///< bf16 elements of depth that one instruction takes
constexpr int kTileSums = 2 * kTile;

/// 2 x 2 tiles in plain C++. The order of additions is that of TDPBF16PS: pairs in ascending order, one product after
/// the other.
class EmulatedTiles {
 public:
  static void configure() {}
  void zero() { memset(sums_, 0, sizeof sums_); }
  void step(const char* a, int64_t a_stride, const char* b, int64_t b_stride) {
    multiply(0, a, a_stride, b, b_stride);
    multiply(kTile, a + kTile * a_stride, a_stride, b, b_stride);
  }
  void step_upper(const char* a, int64_t a_stride, const char* b, int64_t b_stride) {
    multiply(0, a, a_stride, b, b_stride);
  }
  void store(float* c, int64_t stride) const { store_rows(c, stride, 2 * kTile); }
  void store_upper(float* c, int64_t stride) const { store_rows(c, stride, kTile); }

 private:
  void multiply(int first_row, const char* a, int64_t a_stride, const char* b, int64_t b_stride) {
    for (int row = 0; row < kTile; ++row) {
      for (int k = 0; k < kTileDepth; ++k) {
        const float left = element(a + row * a_stride, k);
        for (int column = 0; column < kTileSums; ++column) {
          sums_[first_row + row][column] += left * element(b + k / 2 * b_stride, 2 * column + k % 2);
        }
      }
    }
  }
  static float element(const char* row, int index) {
    uint16_t bits;
    memcpy(&bits, row + 2 * index, sizeof bits);
    return bits_to_float(uint32_t{bits} << 16);
  }
  void store_rows(float* c, int64_t stride, int rows) const {
    for (int row = 0; row < rows; ++row) memcpy(c + row * stride, sums_[row], sizeof sums_[row]);
  }

  float sums_[kTileSums][kTileSums];
};

/// Tiles can only be stored whole: sums that are added to C, or that reach beyond it, take the way through `tile`.
inline void write_tile(const float (&tile)[kTileSums][kTileSums], float* c, int64_t c_stride, int64_t rows,
                       int64_t columns, bool accumulate) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; column += kBlock) {
      const __mmask16 mask = first_of_16(columns - column);
      float* target = c + row * c_stride + column;
      __m512 sums = _mm512_loadu_ps(&tile[row][column]);
      if (accumulate) sums = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, target), sums);
      _mm512_mask_storeu_ps(target, mask, sums);
    }
  }
}

/// A's rows stand a_stride bytes apart, its next 32 elements of depth a_step bytes further. B is a panel of pairs. With
/// at most 16 rows (generation) the lower tiles are left out.
template <class Tiles>
void multiply_tiles(int64_t depth, const void* a, int64_t a_stride, int64_t a_step, const void* b, float* c,
                    int64_t c_stride, int64_t used_rows, int64_t used_columns, bool accumulate) {
  constexpr int64_t kRowBytes = kTileSums * 4, kStepBytes = kTile * kRowBytes;
  const char* left = static_cast<const char*>(a);
  const char* right = static_cast<const char*>(b);
  const bool upper = used_rows <= kTile;
  Tiles::configure();
  Tiles tiles;
  tiles.zero();
  for (int64_t k = 0; k < depth; k += kTileDepth, left += a_step, right += kStepBytes) {
    if (upper) {
      tiles.step_upper(left, a_stride, right, kRowBytes);
    } else {
      tiles.step(left, a_stride, right, kRowBytes);
    }
  }
  if (used_rows == 2 * kTile && used_columns == kTileSums && !accumulate) {
    tiles.store(c, c_stride);
    return;
  }
  alignas(64) float sums[kTileSums][kTileSums];
  if (upper) {
    tiles.store_upper(&sums[0][0], kTileSums);
  } else {
    tiles.store(&sums[0][0], kTileSums);
  }
  write_tile(sums, c, c_stride, used_rows, used_columns, accumulate);
}

template <typename Element>
void pack_tile_rows(const PanelSource& source, const Element* data, uint32_t* panel) {
  const bool along = source.depth_stride == 1;
  for (int64_t k = 0; k < source.depth; k += kTileDepth) {
    for (int lane = 0; lane < 2 * kTile; lane += kBlock, panel += kBlock * kBlock) {
      __m512i rows[kBlock];
      if (along) {
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
