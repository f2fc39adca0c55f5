#include "tensor/pooling.h"

#include <cmath>

#include "base/parallel.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

template <typename T>
void pool_segment(const T* x, int64_t rows, int64_t columns, Pooling pooling, T* out) {
  std::copy_n(x, columns, out);
  if (pooling == Pooling::first) return;
  for (int64_t row = 1; row < rows; ++row) {
    const T* from = x + row * columns;
    if (pooling == Pooling::max) {
      for (int64_t column = 0; column < columns; ++column) out[column] = std::max(out[column], from[column]);
    } else {
      for (int64_t column = 0; column < columns; ++column) out[column] += from[column];
    }
  }
  if (pooling == Pooling::max) return;
  const auto count = static_cast<double>(rows);
  const T divisor = static_cast<T>(pooling == Pooling::mean ? count : std::sqrt(count));
  for (int64_t column = 0; column < columns; ++column) out[column] /= divisor;
}

template <typename T>
void normalize(T* row, int64_t columns) {
  double squares = 0;
  for (int64_t column = 0; column < columns; ++column) squares += static_cast<double>(row[column]) * row[column];
  const double norm = std::max(std::sqrt(squares), 1e-12);
  for (int64_t column = 0; column < columns; ++column) row[column] = static_cast<T>(row[column] / norm);
}

}  // namespace

void pool_rows(const Tensor& x, const Tensor& offsets, Pooling pooling, Tensor out) {
  require_matrix(x, "[pool_rows] x");
  require(x, x.shape(), {DType::f32, DType::f64}, "[pool_rows] x");
  const int64_t columns = x.dim(1), segments = offsets.elements() - 1;
  require(offsets, {segments + 1}, {DType::i32}, "[pool_rows] offsets");
  require(out, {segments, columns}, {x.dtype()}, "[pool_rows] out");
  if (is_meta(x)) return;
  const int32_t* offset = offsets.data<int32_t>();
  for (int64_t segment = 0; segment < segments; ++segment) {
    const int32_t first = offset[segment], last = offset[segment + 1];
    if (first < 0 || last <= first || last > x.dim(0)) {
      throw base::Error("[pool_rows] got segment {} to {} of {} rows", first, last, x.dim(0));
    }
  }
  base::parallel_for(segments, 4, [&](int64_t begin, int64_t end) {
    for (int64_t segment = begin; segment < end; ++segment) {
      const int64_t first = offset[segment], rows = offset[segment + 1] - first;
      const auto run = [&]<typename T>(T) {
        pool_segment(x.data<T>() + first * columns, rows, columns, pooling, out.data<T>() + segment * columns);
      };
      x.dtype() == DType::f64 ? run(double{}) : run(float{});
    }
  });
}

void normalize_rows(Tensor x) {
  require_matrix(x, "[normalize_rows] x");
  require(x, x.shape(), {DType::f32, DType::f64}, "[normalize_rows] x");
  if (is_meta(x)) return;
  const int64_t columns = x.dim(1);
  base::parallel_for(x.dim(0), 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      x.dtype() == DType::f64 ? normalize(x.data<double>() + row * columns, columns)
                              : normalize(x.data<float>() + row * columns, columns);
    }
  });
}

}  // namespace fledge::tensor
