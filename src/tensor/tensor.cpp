#include "tensor/tensor.h"

#include <cstring>

#include "base/error.h"

namespace fledge::tensor {
namespace {

/// Calls visit(offset in elements) for every element in row-major order.
template <typename Visit>
void for_each_offset(const Shape& shape, const Shape& strides, const Visit& visit) {
  if (shape.elements() == 0) return;
  Shape position = shape;
  for (int dimension = 0; dimension < shape.rank(); ++dimension) position[dimension] = 0;
  int64_t offset = 0;
  while (true) {
    visit(offset);
    int dimension = shape.rank() - 1;
    for (; dimension >= 0; --dimension) {
      offset += strides[dimension];
      if (++position[dimension] < shape[dimension]) break;
      offset -= position[dimension] * strides[dimension];
      position[dimension] = 0;
    }
    if (dimension < 0) return;
  }
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Arena& arena) {
  int64_t elements = 1;
  for (const int64_t extent : shape.extents()) {
    if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements) || elements > (INT64_MAX >> 4)) {
      throw base::Error("a tensor of shape {} cannot be made", shape.text());
    }
  }
  return view_of(arena.allocate(static_cast<size_t>(elements) * size_of(dtype)), 0, shape, dtype);
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Arena& arena) {
  Tensor result = empty(shape, dtype, arena);
  if (result.device() == Device::cpu) std::memset(result.raw(), 0, result.bytes());
  return result;
}

template <typename T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape, Arena& arena) {
  Tensor result = empty(shape, DTypeOf<T>::value, arena);
  if (result.elements() != static_cast<int64_t>(values.size())) {
    throw base::Error("{} values were given for a tensor of shape {}", values.size(), shape.text());
  }
  if (result.device() == Device::cpu && !values.empty()) std::memcpy(result.raw(), values.data(), result.bytes());
  return result;
}

Tensor Tensor::view_of(StoragePointer storage, size_t offset, const Shape& shape, DType dtype) {
  Tensor result;
  result.storage_ = std::move(storage);
  result.offset_ = offset;
  result.shape_ = shape;
  result.strides_ = row_major_strides(shape);
  result.dtype_ = dtype;
  if (offset > result.storage_->bytes() || result.bytes() > result.storage_->bytes() - offset) {
    throw base::Error("{} does not fit a storage of {} bytes at byte {}", describe(result), result.storage_->bytes(),
                      offset);
  }
  return result;
}

bool Tensor::is_contiguous() const {
  int64_t stride = 1;
  for (int dimension = rank() - 1; dimension >= 0; --dimension) {
    if (shape_[dimension] != 1 && strides_[dimension] != stride) return false;
    stride *= shape_[dimension];
  }
  return true;
}

Tensor Tensor::reshape(const Shape& shape) const {
  Shape resolved = shape;
  int unknown = -1;
  int64_t known = 1;
  for (int dimension = 0; dimension < shape.rank(); ++dimension) {
    if (shape[dimension] == -1 && unknown < 0) {
      unknown = dimension;
    } else {
      known *= shape[dimension];
    }
  }
  if (unknown >= 0 && known != 0) resolved[unknown] = elements() / known;
  if (resolved.elements() != elements() || !is_contiguous()) {
    throw base::Error("[reshape] got {}{}, expected {} elements for {}", describe(*this),
                      is_contiguous() ? "" : " (not contiguous)", resolved.elements(), shape.text());
  }
  Tensor result = *this;
  result.shape_ = resolved;
  result.strides_ = row_major_strides(resolved);
  return result;
}

Tensor Tensor::transpose(int first, int second) const {
  Tensor result = *this;
  std::swap(result.shape_[first], result.shape_[second]);
  std::swap(result.strides_[first], result.strides_[second]);
  return result;
}

Tensor Tensor::slice(int dimension, int64_t start, int64_t length) const {
  const int64_t extent = shape_[dimension];
  if (start < 0 || length < 0 || start > extent - length) {
    throw base::Error("[slice] got elements {} to {} of dimension {} of {}", start, start + length, dimension,
                      describe(*this));
  }
  Tensor result = *this;
  result.shape_[dimension] = length;
  result.offset_ += static_cast<size_t>(start * strides_[dimension]) * size_of(dtype_);
  return result;
}

Tensor Tensor::select(int dimension, int64_t index) const {
  Tensor result = slice(dimension, index, 1);
  result.shape_.erase(dimension);
  result.strides_.erase(dimension);
  return result;
}

template <typename T>
std::vector<T> Tensor::to_vector() const {
  std::vector<T> values;
  values.reserve(static_cast<size_t>(elements()));
  const T* first = data<T>();
  for_each_offset(shape_, strides_, [&](int64_t offset) { values.push_back(first[offset]); });
  return values;
}

#define FLEDGE_ELEMENT(T)                                                              \
  template Tensor Tensor::from<T>(const std::vector<T>& values, const Shape&, Arena&); \
  template std::vector<T> Tensor::to_vector<T>() const;
FLEDGE_ELEMENT(double)
FLEDGE_ELEMENT(float)
FLEDGE_ELEMENT(bf16)
FLEDGE_ELEMENT(int64_t)
FLEDGE_ELEMENT(int32_t)
FLEDGE_ELEMENT(uint16_t)
FLEDGE_ELEMENT(uint8_t)
#undef FLEDGE_ELEMENT

std::string describe(const Tensor& tensor) {
  if (!tensor) return "an undefined tensor";
  return fmt::format("{} {}", name_of(tensor.dtype()), tensor.shape().text());
}

void require_shape(const Tensor& tensor, const Shape& expected, std::string_view what) {
  if (!tensor || !(tensor.shape() == expected)) {
    throw base::Error("{}: got {}, expected {}", what, describe(tensor), expected.text());
  }
}

}  // namespace fledge::tensor
