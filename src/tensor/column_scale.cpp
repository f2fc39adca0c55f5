#include "tensor/column_scale.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/column_scale.h"
#include "tensor/cpu/partials.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

void column_scale_backward_f64(const Tensor& d_y, const Tensor& z, const Tensor& scale, const Tensor& d_z,
                               const Tensor& d_scale) {
  const int64_t columns = d_y.dim(1);
  double* sums = d_scale.data<double>();
  std::fill(sums, sums + columns, 0.0);
  for (int64_t i = 0; i < d_y.elements(); ++i) {
    const double d = d_y.data<double>()[i];
    sums[i % columns] += d * z.data<double>()[i];
    d_z.data<double>()[i] = d * scale.data<double>()[i % columns];
  }
}

double dot_f64(const double* a, const double* b, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void require_rows(const Tensor& matrix, std::string_view what) {
  require_matrix(matrix, what);
  require_dtype(matrix, {DType::f32, DType::bf16, DType::f64}, what);
  if (matrix.dim(1) > 1 && matrix.stride(1) != 1) {
    throw base::Error("{}: the elements of a row of {} must stand together", what, describe(matrix));
  }
}

/// Calls body(double{} or float{}) for vectors of one type and shape.
template <typename Body>
void with_vectors(std::initializer_list<const Tensor*> vectors, std::string_view what, const Body& body) {
  const Tensor& first = **vectors.begin();
  for (const Tensor* vector : vectors) {
    require(*vector, {first.elements()}, {first.dtype()}, what);
    require_dtype(*vector, {DType::f32, DType::f64}, what);
    if (is_meta(*vector)) return;
  }
  first.dtype() == DType::f64 ? body(double{}) : body(float{});
}

}  // namespace

void column_scale_backward(const Tensor& d_y, const Tensor& z, const Tensor& scale, Tensor d_z, Tensor d_scale) {
  require_matrix(d_y, "[column_scale] d_y");
  const bool f64 = d_y.dtype() == DType::f64;
  const DType exact = f64 ? DType::f64 : DType::f32;
  require(d_y, d_y.shape(), {DType::f32, DType::bf16, DType::f64}, "[column_scale] d_y");
  require(z, d_y.shape(), {exact, f64 ? exact : DType::bf16}, "[column_scale] z");
  require(scale, {d_y.dim(1)}, {exact}, "[column_scale] scale");
  require(d_z, d_y.shape(), {d_y.dtype()}, "[column_scale] d_z");
  require(d_scale, {d_y.dim(1)}, {exact}, "[column_scale] d_scale");
  if (is_meta(d_y) || d_y.elements() == 0) return;
  if (f64) return column_scale_backward_f64(d_y, z, scale, d_z, d_scale);
  instruction_set();
  const int64_t columns = d_y.dim(1);
  cpu::BlockedSums<float> sums(d_y.dim(0), columns);
  sums.sum([&](int64_t first, int64_t last, float* partial) {
    cpu::column_scale_backward(d_y.raw(), d_y.dtype(), z.raw(), z.dtype(), scale.data<float>(), d_z.raw(), first, last,
                               columns, partial);
  });
  sums.add_to(d_scale.data<float>(), 0, columns, false);
}

void row_dots(const Tensor& a, const Tensor& b, Tensor out) {
  require_rows(a, "[row_dots] a");
  require_rows(b, "[row_dots] b");
  require_shape(b, a.shape(), "[row_dots] b");
  const bool f64 = a.dtype() == DType::f64;
  require(out, {a.dim(0)}, {f64 ? DType::f64 : DType::f32}, "[row_dots] out");
  if (f64 != (b.dtype() == DType::f64)) throw base::Error("[row_dots] got {} and {}", describe(a), describe(b));
  if (is_meta(a) || is_meta(b) || is_meta(out)) return;
  instruction_set();
  const auto row_of = [](const Tensor& matrix, int64_t row) {
    return matrix.raw() + row * matrix.stride(0) * static_cast<int64_t>(size_of(matrix.dtype()));
  };
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, a.dim(1)));
  base::parallel_for(a.dim(0), grain, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      if (f64) {
        out.data<double>()[row] = dot_f64(reinterpret_cast<const double*>(row_of(a, row)),
                                          reinterpret_cast<const double*>(row_of(b, row)), a.dim(1));
      } else {
        out.data<float>()[row] = cpu::dot(row_of(a, row), a.dtype(), row_of(b, row), b.dtype(), a.dim(1));
      }
    }
  });
}

void scale_columns(const Tensor& x, const Tensor& scale, Tensor out) {
  require_matrix(x, "[scale_columns] x");
  const bool f64 = x.dtype() == DType::f64;
  require(x, x.shape(), {DType::f32, DType::bf16, DType::f64}, "[scale_columns] x");
  require(scale, {x.dim(1)}, {f64 ? DType::f64 : DType::f32}, "[scale_columns] scale");
  require(out, x.shape(), {x.dtype()}, "[scale_columns] out");
  if (is_meta(x)) return;
  const int64_t columns = x.dim(1);
  if (f64) {
    for (int64_t i = 0; i < x.elements(); ++i) {
      out.data<double>()[i] = x.data<double>()[i] * scale.data<double>()[i % columns];
    }
    return;
  }
  instruction_set();
  const int64_t row_bytes = columns * static_cast<int64_t>(size_of(x.dtype()));
  base::parallel_for(x.dim(0), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns)),
                     [&](int64_t first, int64_t last) {
                       for (int64_t row = first; row < last; ++row) {
                         cpu::multiply(x.raw() + row * row_bytes, x.dtype(), scale.data<float>(),
                                       out.raw() + row * row_bytes, columns);
                       }
                     });
}

void divide(const Tensor& a, const Tensor& b, Tensor out) {
  with_vectors({&a, &b, &out}, "[divide] vector", [&]<typename T>(T) {
    for (int64_t i = 0; i < a.elements(); ++i) {
      const T divisor = b.data<T>()[i];
      out.data<T>()[i] = divisor == T{0} ? T{0} : a.data<T>()[i] / divisor;
    }
  });
}

void add_above_one(const Tensor& x, double weight, Tensor out) {
  with_vectors({&x, &out}, "[add_above_one] vector", [&]<typename T>(T) {
    for (int64_t i = 0; i < x.elements(); ++i) out.data<T>()[i] += static_cast<T>(weight) * (x.data<T>()[i] - T{1});
  });
}

void low_rank_norms(const Tensor& base, const Tensor& cross, const Tensor& squares, double scale, Tensor out) {
  with_vectors({&base, &cross, &squares, &out}, "[low_rank_norms] vector", [&]<typename T>(T) {
    for (int64_t i = 0; i < out.elements(); ++i) {
      const double sum = double{base.data<T>()[i]} + 2.0 * scale * double{cross.data<T>()[i]} +
                         scale * scale * double{squares.data<T>()[i]};
      // Rounding must not make the square of a tiny row negative.
      out.data<T>()[i] = static_cast<T>(std::sqrt(std::max(sum, 0.0)));
    }
  });
}

}  // namespace fledge::tensor
