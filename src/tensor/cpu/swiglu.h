#pragma once

#include <cstdint>

#include "tensor/cpu/rows.h"

namespace fledge::tensor::cpu {

/// Rows [first, last) of tensor/swiglu.h, f32 or bf16.
void swiglu_rows(const Rows& gate, const Rows& up, const Rows& out, int64_t first, int64_t last);
void swiglu_backward_rows(const Rows& gate, const Rows& up, const Rows& d_out, const Rows& d_gate, const Rows& d_up,
                          int64_t first, int64_t last);

}  // namespace fledge::tensor::cpu
