#pragma once

#include <stdint.h>

#include "tensor/cpu/gemm_functions.h"

// What narrow panels (see narrow_panels.h) have in common with every instruction set. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

constexpr int64_t kNarrowPrefetchBytes = 6144;

/// Where the value of a byte stands among its 64.
inline int64_t element_of_byte(int64_t byte) {
  const int64_t quarter = byte / 16, place = byte % 16;
  return place < 8 ? quarter * 8 + place : 32 + quarter * 8 + place - 8;
}

struct ExceptionList {
  NarrowException* items;
  int64_t count, most;

  /// Adds those of a pair's 64 values whose bytes' bits are set. False where there is no room for them.
  bool add(uint64_t bytes, const uint16_t* values, int64_t pair) {
    for (; bytes != 0; bytes &= bytes - 1) {
      if (count == most) return false;
      const int64_t element = element_of_byte(__builtin_ctzll(bytes));
      items[count++] = {static_cast<uint32_t>(pair * kNarrowPairElements + element), values[element]};
    }
    return true;
  }
};

}  // namespace
}  // namespace fledge::tensor::cpu
