#pragma once

#include <cassert>
#include <cstdint>
#include <vector>

#include "tensor/arena.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace fledge::tensor {

/// A view of shared storage: shape, strides, element type. A value: copies are cheap and see the same elements.
/// Row-major, first dimension outermost, as in PyTorch. A default-made tensor is undefined and tests false.
/// View-making functions never copy; they throw Error naming the shapes where a view is impossible.
class Tensor {
 public:
  Tensor() = default;

  /// Contiguous and not cleared.
  static Tensor empty(const Shape& shape, DType dtype, Arena& arena);
  static Tensor zeros(const Shape& shape, DType dtype, Arena& arena);
  template <typename T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Arena& arena);
  /// A contiguous view of `storage` from byte `offset` on. Throws where it does not fit.
  static Tensor view_of(StoragePointer storage, size_t offset, const Shape& shape, DType dtype);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }
  int64_t dim(int dimension) const { return shape_[dimension]; }
  int64_t stride(int dimension) const { return strides_[dimension]; }
  int rank() const { return shape_.rank(); }
  int64_t elements() const { return shape_.elements(); }
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  bool is_contiguous() const;
  /// Nobody else views this storage.
  bool is_sole_owner() const { return storage_.use_count() == 1; }
  bool shares_storage(const Tensor& other) const { return storage_ == other.storage_; }

  /// Address of the first element; for kernels in tensor/cpu, readers and tests. Never read on the meta device.
  template <typename T>
  T* data() const {
    assert(DTypeOf<T>::value == dtype_);
    return reinterpret_cast<T*>(raw());
  }
  std::byte* raw() const { return storage_ ? storage_->data() + offset_ : nullptr; }

  /// The same elements in another shape; one extent may be -1. Needs a contiguous tensor.
  Tensor reshape(const Shape& shape) const;
  Tensor transpose(int first, int second) const;
  /// Elements [start, start + length) of one dimension.
  Tensor slice(int dimension, int64_t start, int64_t length) const;
  /// One index of a dimension, which disappears.
  Tensor select(int dimension, int64_t index) const;

  /// The elements in row-major order (a copy), for tests and small results.
  template <typename T>
  std::vector<T> to_vector() const;

 private:
  StoragePointer storage_;
  size_t offset_ = 0;  // bytes
  Shape shape_, strides_;
  DType dtype_ = DType::f32;
};

/// "f32 [2, 3]", for messages.
std::string describe(const Tensor& tensor);

/// Throws Error "WHAT: got ..., expected ..." where the tensor's shape is not the expected one.
void require_shape(const Tensor& tensor, const Shape& expected, std::string_view what);

}  // namespace fledge::tensor
