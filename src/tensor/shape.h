#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace fledge::tensor {

/// Up to eight extents (or strides, counted in elements), outermost first.
class Shape {
 public:
  static constexpr int kMaximumRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  /// Extent of a dimension; a negative index counts from the last.
  int64_t operator[](int dimension) const { return extents_[index(dimension)]; }
  int64_t& operator[](int dimension) { return extents_[index(dimension)]; }
  /// Product of the extents; 1 for rank 0.
  int64_t elements() const;
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }
  void push_back(int64_t extent);
  void erase(int dimension);

  bool operator==(const Shape& other) const;
  /// "[2, 3, 4]".
  std::string text() const;

 private:
  size_t index(int dimension) const { return static_cast<size_t>(dimension < 0 ? dimension + rank_ : dimension); }
  std::array<int64_t, kMaximumRank> extents_{};
  int rank_ = 0;
};

/// Strides of a row-major array of that shape.
Shape row_major_strides(const Shape& shape);

}  // namespace fledge::tensor
