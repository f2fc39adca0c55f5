#include <immintrin.h>

#include "tensor/cpu/peak.h"
#include "tensor/cpu/tiles_amx.h"

namespace fledge::tensor::cpu {
namespace {

void prepare_tiles() {
  amx::ensure_tiles(amx::TileShape::full);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

}  // namespace

double multiply_add_amx(int64_t rounds) {
  prepare_tiles();
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    amx::fill_in();
    _tile_dpbf16ps(1, 4, 7);
    amx::fill_in();
    _tile_dpbf16ps(2, 5, 6);
    amx::fill_in();
    _tile_dpbf16ps(3, 5, 7);
    amx::fill_in();
  }
  amx::release_tiles();
  return static_cast<double>(rounds) * 4 * 16 * 16 * 32 * 2;
}

double multiply_add_int8_amx(int64_t rounds) {
  prepare_tiles();
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbusd(0, 4, 6);
    amx::fill_in();
    _tile_dpbusd(1, 4, 7);
    amx::fill_in();
    _tile_dpbusd(2, 5, 6);
    amx::fill_in();
    _tile_dpbusd(3, 5, 7);
    amx::fill_in();
  }
  amx::release_tiles();
  return static_cast<double>(rounds) * 4 * 16 * 16 * 64 * 2;
}

}  // namespace fledge::tensor::cpu
