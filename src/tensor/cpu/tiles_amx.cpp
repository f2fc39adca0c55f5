#include "tensor/cpu/tiles_amx.h"

#include <immintrin.h>

namespace fledge::tensor::cpu::amx {
namespace {

/// Layout of LDTILECFG's operand (Intel SDM, volume 1, section 18.3).
struct alignas(64) Configuration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(Configuration) == 64);

}  // namespace

constinit thread_local TileShape tile_shape = TileShape::none;

void load_tiles(TileShape shape) {
  Configuration configuration;
  if (shape != TileShape::full) {
    const uint8_t depth = shape == TileShape::depth_16 ? 16 : 32;
    configuration.row_bytes[4] = configuration.row_bytes[5] = depth;
    configuration.rows[6] = configuration.rows[7] = depth / 4;
  }
  // The intrinsic of g++ 12 says that it reads 8 bytes only, and the stores to the others could be dropped.
  asm volatile("" ::"r"(&configuration) : "memory");
  _tile_loadconfig(&configuration);
  tile_shape = shape;
}

void release_tiles() {
  if (tile_shape != TileShape::none) _tile_release();
  tile_shape = TileShape::none;
}

}  // namespace fledge::tensor::cpu::amx
