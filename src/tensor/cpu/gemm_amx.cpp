#include "tensor/cpu/gemm_amx-inl.h"

namespace fledge::tensor::cpu::amx {
namespace {

/// Whether this thread's tiles have their shape. Loading it costs about as much as a few products.
thread_local bool configured = false;

struct alignas(64) Configuration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(Configuration) == 64);

/// The processor's tiles: sums in 0 to 3, A in 4 and 5, B in 6 and 7. The intrinsics of g++ 12 do not say that they
/// read and write memory, so barriers say it for them.
class ProcessorTiles {
 public:
  static void configure() {
    if (configured) return;
    const Configuration configuration;
    asm volatile("" ::"r"(&configuration) : "memory");
    _tile_loadconfig(&configuration);
    configured = true;
  }
  static void zero() {
    asm volatile("" ::: "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  static void step(const char* a, int64_t a_stride, const char* b, int64_t b_stride) {
    _tile_loadd(6, b, b_stride);
    _tile_loadd(4, a, a_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 64, b_stride);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + kTile * a_stride, a_stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  static void step_upper(const char* a, int64_t a_stride, const char* b, int64_t b_stride) {
    _tile_loadd(6, b, b_stride);
    _tile_loadd(4, a, a_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 64, b_stride);
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

constexpr int64_t kBlockBytes = kRows * kTileDepth * 2;

}  // namespace

void pack_a(const PanelSource& source, void* panel) {
  pack_tiles(source, panel);
}

void pack_b(const PanelSource& source, void* panel) {
  pack_words<Words::pairs, kColumns>(source, kTileDepth, panel);
}

void multiply(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride, int64_t used_rows,
              int64_t used_columns, bool accumulate) {
  multiply_tiles<ProcessorTiles>(depth, a_panel, kTileDepth * 2, kBlockBytes, b_panel, c, c_stride, used_rows,
                                 used_columns, accumulate);
}

void multiply_in_place(int64_t depth, const void* a, int64_t a_stride, const void* b_panel, float* c, int64_t c_stride,
                       int64_t used_columns, bool accumulate) {
  multiply_tiles<ProcessorTiles>(depth, a, a_stride * 2, kTileDepth * 2, b_panel, c, c_stride, kRows, used_columns,
                                 accumulate);
}

void release() {
  if (configured) _tile_release();
  configured = false;
}

void multiply_emulated(int64_t depth, const void* a_panel, const void* b_panel, float* c, int64_t c_stride,
                       int64_t used_rows, int64_t used_columns, bool accumulate) {
  multiply_tiles<EmulatedTiles>(depth, a_panel, kTileDepth * 2, kBlockBytes, b_panel, c, c_stride, used_rows,
                                used_columns, accumulate);
}

void multiply_in_place_emulated(int64_t depth, const void* a, int64_t a_stride, const void* b_panel, float* c,
                                int64_t c_stride, int64_t used_columns, bool accumulate) {
  multiply_tiles<EmulatedTiles>(depth, a, a_stride * 2, kTileDepth * 2, b_panel, c, c_stride, kRows, used_columns,
                                accumulate);
}

}  // namespace fledge::tensor::cpu::amx
