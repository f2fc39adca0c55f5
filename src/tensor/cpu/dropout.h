#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// What the mask of a dropout is made of; see tensor/dropout.h.
struct DropoutMask {
  uint32_t key[2];         ///< of the Philox generator
  uint64_t first_element;  ///< position of the first element's random number
  uint32_t limit;          ///< elements with a number above it are kept
};

/// out[i] = x[i] * factor or 0, for `count` elements of f32 or bf16; out may be x.
void dropout(const void* x, DType dtype, const DropoutMask& mask, float factor, void* out, int64_t count);

}  // namespace fledge::tensor::cpu
