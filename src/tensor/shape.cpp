#include "tensor/shape.h"

#include <algorithm>
#include <cassert>

#include "base/error.h"

namespace fledge::tensor {

Shape::Shape(std::initializer_list<int64_t> extents)
    : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const int64_t> extents) {
  if (extents.size() > kMaximumRank) {
    throw base::Error("a tensor of rank {} was asked for; the largest rank is {}", extents.size(), kMaximumRank);
  }
  std::copy(extents.begin(), extents.end(), extents_.begin());
  rank_ = static_cast<int>(extents.size());
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (const int64_t extent : extents()) product *= extent;
  return product;
}

void Shape::push_back(int64_t extent) {
  assert(rank_ < kMaximumRank);
  extents_[static_cast<size_t>(rank_++)] = extent;
}

void Shape::erase(int dimension) {
  const auto at = static_cast<int64_t>(index(dimension));
  std::copy(extents_.begin() + at + 1, extents_.begin() + rank_, extents_.begin() + at);
  --rank_;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(extents(), other.extents());
}

std::string Shape::text() const {
  return fmt::format("[{}]", fmt::join(extents(), ", "));
}

Shape row_major_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t stride = 1;
  for (int dimension = shape.rank() - 1; dimension >= 0; --dimension) {
    strides[dimension] = stride;
    stride *= shape[dimension];
  }
  return strides;
}

}  // namespace fledge::tensor
