#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// Address and strides (in elements) of rows of heads [R, H, C] whose last dimension is contiguous; null: not wanted.
struct Rows {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  int64_t row_stride = 0, head_stride = 0, heads = 1, columns = 0;

  explicit operator bool() const { return data != nullptr; }
  /// Elements of one head of one row; null where there are no rows.
  template <typename T>
  T* at(int64_t row, int64_t head) const {
    return data == nullptr ? nullptr : reinterpret_cast<T*>(data) + row * row_stride + head * head_stride;
  }
};

}  // namespace fledge::tensor::cpu
