#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "base/error.h"
#include "tensor/tensor.h"

namespace fledge::tensor {

/// Checks at the door of an operation. Each throws Error "WHAT: got ..., expected ...", where WHAT is "[operation]
/// operand".
inline void require_dtype(const Tensor& tensor, std::initializer_list<DType> allowed, std::string_view what) {
  if (tensor && std::ranges::find(allowed, tensor.dtype()) != allowed.end()) return;
  std::string names;
  for (const DType dtype : allowed) names.append(names.empty() ? "" : " or ").append(name_of(dtype));
  throw base::Error("{}: got {}, expected {}", what, describe(tensor), names);
}

/// Shape, element type and row-major order without gaps.
inline void require(const Tensor& tensor, const Shape& shape, std::initializer_list<DType> allowed,
                    std::string_view what) {
  require_shape(tensor, shape, what);
  require_dtype(tensor, allowed, what);
  if (!tensor.is_contiguous()) {
    throw base::Error("{}: got {} with strides {}, expected a contiguous tensor", what, describe(tensor),
                      tensor.strides().text());
  }
}

/// The same for an operand that may be left out.
inline void require_if_defined(const Tensor& tensor, const Shape& shape, std::initializer_list<DType> allowed,
                               std::string_view what) {
  if (tensor) require(tensor, shape, allowed, what);
}

/// A matrix [rows, columns]; vectors and tensors of more dimensions are refused.
inline void require_matrix(const Tensor& tensor, std::string_view what) {
  if (!tensor || tensor.rank() != 2) throw base::Error("{}: got {}, expected a matrix", what, describe(tensor));
}

/// Kernels return at once for such a tensor.
inline bool is_meta(const Tensor& tensor) {
  return tensor.device() == Device::meta;
}

}  // namespace fledge::tensor
