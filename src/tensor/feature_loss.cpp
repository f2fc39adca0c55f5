#include "tensor/feature_loss.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "base/parallel.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

constexpr int kLanes = 8;

double wide(double value) {
  return value;
}
double wide(float value) {
  return value;
}
double wide(bf16 value) {
  return static_cast<float>(value);
}

/// Sum of term(c) over the columns in independent partial sums, so that additions overlap.
template <typename Term>
double sum_over(int64_t columns, const Term& term) {
  double sums[kLanes] = {};
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += term(c + lane);
  }
  for (; c < columns; ++c) sums[0] += term(c);
  return std::accumulate(sums, sums + kLanes, 0.0);
}

template <typename X, typename T>
double squared_distance_row(const X* x, const T* target, int64_t columns, double factor, X* d_x) {
  const auto difference = [&](int64_t c) { return wide(x[c]) - wide(target[c]); };
  const double sum = sum_over(columns, [&](int64_t c) { return difference(c) * difference(c); });
  if (d_x != nullptr) {
    for (int64_t c = 0; c < columns; ++c) d_x[c] = convert<X>(2.0 * factor * difference(c));
  }
  return sum;
}

template <typename X, typename T>
double cosine_row(const X* x, const T* target, int64_t columns, double factor, X* d_x) {
  const double product = sum_over(columns, [&](int64_t c) { return wide(x[c]) * wide(target[c]); });
  const double own = sum_over(columns, [&](int64_t c) { return wide(x[c]) * wide(x[c]); });
  const double other = sum_over(columns, [&](int64_t c) { return wide(target[c]) * wide(target[c]); });
  const double norms = std::sqrt(own) * std::sqrt(other);
  const double cosine = norms != 0.0 ? product / norms : 0.0;
  if (d_x != nullptr) {
    // d cosine / d x = target / (|x| |target|) - cosine x / |x|^2
    const double of_target = norms != 0.0 ? -factor / norms : 0.0, of_x = norms != 0.0 ? factor * cosine / own : 0.0;
    for (int64_t c = 0; c < columns; ++c) d_x[c] = convert<X>(of_target * wide(target[c]) + of_x * wide(x[c]));
  }
  return 1.0 - cosine;
}

/// Calls body(X*, T*) with null pointers of the operands' element types.
template <typename Body>
void with_types(const Tensor& x, const Tensor& target, const Body& body) {
  if (x.dtype() == DType::f64) return body(static_cast<double*>(nullptr), static_cast<double*>(nullptr));
  const auto with_target = [&](auto* type) {
    target.dtype() == DType::bf16 ? body(type, static_cast<bf16*>(nullptr)) : body(type, static_cast<float*>(nullptr));
  };
  x.dtype() == DType::bf16 ? with_target(static_cast<bf16*>(nullptr)) : with_target(static_cast<float*>(nullptr));
}

void check(const Tensor& x, const Tensor& target, const Tensor& counted, const Tensor& d_x, std::string_view what) {
  require_matrix(x, what);
  require(x, x.shape(), {DType::f32, DType::bf16, DType::f64}, what);
  if (x.dtype() == DType::f64) {
    require(target, x.shape(), {DType::f64}, what);
  } else {
    require(target, x.shape(), {DType::f32, DType::bf16}, what);
  }
  require_if_defined(counted, {x.dim(0)}, {DType::i32}, what);
  require_if_defined(d_x, x.shape(), {x.dtype()}, what);
}

/// Sum over the rows of row(x, target, d_x).
template <typename Row>
double sum_of_rows(const Tensor& x, const Tensor& target, const Tensor& counted, const Tensor& d_x, const Row& row) {
  if (is_meta(x) || is_meta(target)) return 0.0;
  const int64_t rows = x.dim(0), columns = x.dim(1);
  std::vector<double> values(static_cast<size_t>(rows));
  with_types(x, target, [&]<typename X, typename T>(X*, T*) {
    base::parallel_for(rows, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, columns)),
                       [&](int64_t first, int64_t last) {
                         for (int64_t r = first; r < last; ++r) {
                           X* d_row = d_x ? d_x.data<X>() + r * columns : nullptr;
                           if (!counted || counted.data<int32_t>()[r] != 0) {
                             values[static_cast<size_t>(r)] =
                                 row(x.data<X>() + r * columns, target.data<T>() + r * columns, columns, d_row);
                           } else if (d_row != nullptr) {
                             std::fill(d_row, d_row + columns, convert<X>(0.0));
                           }
                         }
                       });
  });
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

double squared_distance(const Tensor& x, const Tensor& target, const Tensor& counted, double factor, Tensor d_x) {
  check(x, target, counted, d_x, "[squared_distance] operands");
  return sum_of_rows(x, target, counted, d_x, [factor](const auto* a, const auto* b, int64_t columns, auto* d) {
    return squared_distance_row(a, b, columns, factor, d);
  });
}

double cosine_distance(const Tensor& x, const Tensor& target, const Tensor& counted, double factor, Tensor d_x) {
  check(x, target, counted, d_x, "[cosine_distance] operands");
  return sum_of_rows(x, target, counted, d_x, [factor](const auto* a, const auto* b, int64_t columns, auto* d) {
    return cosine_row(a, b, columns, factor, d);
  });
}

}  // namespace fledge::tensor
