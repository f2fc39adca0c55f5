#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace fledge::tensor {

/// The place of the greatest number of each row, the first of equal ones; x [R, V] f32 or f64 and contiguous.
std::vector<int32_t> argmax_rows(const Tensor& x);

}  // namespace fledge::tensor
