#pragma once

#include "tensor/check.h"
#include "tensor/cpu/rows.h"

namespace fledge::tensor {

/// x [R, C] as R rows of one head, or x [R, H, C] with any strides of rows and heads. Throws Error "WHAT: ..." where x
/// is neither, is of a type that is not allowed, or its last dimension has gaps.
inline cpu::Rows rows_of(const Tensor& x, std::initializer_list<DType> allowed, std::string_view what) {
  require_dtype(x, allowed, what);
  if (x.rank() != 2 && x.rank() != 3) {
    throw base::Error("{}: got {}, expected rows [R, C] or heads [R, H, C]", what, describe(x));
  }
  if (x.dim(-1) > 1 && x.stride(-1) != 1) {
    throw base::Error("{}: got {} with strides {}, expected a contiguous last dimension", what, describe(x),
                      x.strides().text());
  }
  const bool heads = x.rank() == 3;
  return {x.raw(), x.dtype(), x.stride(0), heads ? x.stride(1) : 0, heads ? x.dim(1) : 1, x.dim(-1)};
}

/// The same for an operand that must have the shape of another.
inline cpu::Rows rows_of(const Tensor& x, const Shape& shape, std::initializer_list<DType> allowed,
                         std::string_view what) {
  require_shape(x, shape, what);
  return rows_of(x, allowed, what);
}

}  // namespace fledge::tensor
