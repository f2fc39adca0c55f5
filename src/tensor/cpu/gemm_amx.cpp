#include "tensor/cpu/gemm_amx-inl.h"
#include "tensor/cpu/tiles_amx.h"

namespace fledge::tensor::cpu::amx {
namespace {

/// The processor's tiles: sums in 0 to 3, A in 4 and 5, B in 6 and 7. The intrinsics of g++ 12 do not say that they
/// read and write memory, so barriers say it for them. A passes once for each column of panels, so it is loaded with
/// the hint that leaves B in the L1 cache.
class ProcessorTiles {
 public:
  static void configure() { ensure_tiles(TileShape::full); }
  static void zero() {
    asm volatile("" ::: "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  static void load(const float* c, int64_t stride) {
    load_upper(c, stride);
    _tile_loadd(2, c + kTile * stride, stride * 4);
    _tile_loadd(3, c + kTile * stride + kTile, stride * 4);
  }
  static void load_upper(const float* c, int64_t stride) {
    asm volatile("" ::: "memory");
    _tile_loadd(0, c, stride * 4);
    _tile_loadd(1, c + kTile, stride * 4);
  }
  static void step(const char* a, const char* b) {
    _tile_loadd(6, b, kTileSums * 4);
    fill_in();
    _tile_stream_loadd(4, a, kTileRowBytes);
    fill_in();
    _tile_loadd(7, b + kTile * 4, kTileSums * 4);
    fill_in();
    _tile_stream_loadd(5, a + kTile * kTileRowBytes, kTileRowBytes);
    fill_in();
    _tile_dpbf16ps(0, 4, 6);
    fill_in();
    _tile_dpbf16ps(1, 4, 7);
    fill_in();
    _tile_dpbf16ps(2, 5, 6);
    fill_in();
    _tile_dpbf16ps(3, 5, 7);
    fill_in();
  }
  static void step_upper(const char* a, const char* b) {
    _tile_loadd(6, b, kTileSums * 4);
    _tile_stream_loadd(4, a, kTileRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTile * 4, kTileSums * 4);
    _tile_dpbf16ps(1, 4, 7);
  }
  static void store(float* c, int64_t stride) {
    store_upper(c, stride);
    _tile_stored(2, c + kTile * stride, stride * 4);
    _tile_stored(3, c + kTile * stride + kTile, stride * 4);
    asm volatile("" ::: "memory");
  }
  static void store_upper(float* c, int64_t stride) {
    _tile_stored(0, c, stride * 4);
    _tile_stored(1, c + kTile, stride * 4);
    asm volatile("" ::: "memory");
  }
};

}  // namespace

void pack_a(const PanelSource& source, void* panel) {
  pack_tiles(source, panel);
}

void pack_b(const PanelSource& source, void* panel) {
  pack_words<Words::pairs, kColumns>(source, kTileDepth, panel);
}

void multiply(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride, int64_t used_rows,
              int64_t used_columns, bool accumulate) {
  multiply_tiles<ProcessorTiles>(depth, a_panel, b_panel, c, c_stride, used_rows, used_columns, accumulate);
}

/// Whole lines go past the caches: to write a line there, it would first have to be read, and the outputs of training
/// are too large to be found again.
void store_bf16(const float* sums, int64_t sums_stride, int64_t rows, int64_t columns, void* out, int64_t out_stride) {
  auto* target = static_cast<uint16_t*>(out);
  const bool lines = columns == kTileSums && reinterpret_cast<uintptr_t>(out) % 64 == 0 && out_stride % 32 == 0;
  for (int64_t row = 0; row < rows; ++row, sums += sums_stride, target += out_stride) {
    const __m512 low = _mm512_maskz_loadu_ps(first_of_16(columns), sums);
    const __m512 high = _mm512_maskz_loadu_ps(first_of_16(columns - kBlock), sums + kBlock);
    const auto rounded = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
    if (lines) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(target), rounded);
    } else {
      _mm512_mask_storeu_epi16(target, first_of_32(columns), rounded);
    }
  }
}

void release() {
  _mm_sfence();  // what store_bf16 sent past the caches is there before the other threads go on
  release_tiles();
}

void multiply_emulated(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                       int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_tiles<EmulatedTiles>(depth, a_panel, b_panel, c, c_stride, used_rows, used_columns, accumulate);
}

}  // namespace fledge::tensor::cpu::amx
