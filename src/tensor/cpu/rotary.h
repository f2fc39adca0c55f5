#pragma once

#include <cstdint>

#include "tensor/cpu/rows.h"

namespace fledge::tensor::cpu {

/// Rows [first, last) of tensor/rotary.h's rotate(); x and out are f32, or both bf16.
void rotate_rows(const Rows& x, const float* angles, bool inverse, const Rows& out, int64_t first, int64_t last);

}  // namespace fledge::tensor::cpu
