#pragma once

#include <stdint.h>

// The shape of this thread's tiles, which all AMX kernels share.
namespace fledge::tensor::cpu::amx {

/// What the tiles are shaped for.
enum class TileShape : uint8_t {
  none,      ///< released
  full,      ///< eight tiles of 16 rows of 64 bytes
  depth_16,  ///< int8 products of depth 16: tiles 4 and 5 have rows of 16 bytes, 6 and 7 have 4 rows
  depth_32   ///< the same of depth 32
};

/// What the thread's tiles have now.
extern constinit thread_local TileShape tile_shape;

/// Loads a shape; costs about as much as a few products.
void load_tiles(TileShape shape);
/// Gives the tiles back; no cost where there are none.
void release_tiles();

inline void ensure_tiles(TileShape shape) {
  if (tile_shape != shape) load_tiles(shape);
}

/// Instructions that do nothing, between one tile instruction and the next. Where the core's other thread is busy, tile
/// instructions in close order get less than their share of the core: with these between them, products are 1.5 times
/// as fast there, and where the core is ours alone as fast as before (Xeon, family 6, model 207).
inline void fill_in() {
  asm volatile("nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop");
}

}  // namespace fledge::tensor::cpu::amx
