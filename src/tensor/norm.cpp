#include "tensor/norm.h"

#include <algorithm>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/norm.h"
#include "tensor/cpu/partials.h"
#include "tensor/cpu/reference/elementwise.h"
#include "tensor/cpu/reference/norm.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

namespace reference = cpu::reference;

/// Rows that are worth a thread.
int64_t grain_of(int64_t columns) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
}

template <typename T>
T* data_or_null(const Tensor& t) {
  return t ? t.data<T>() : nullptr;
}

/// Checks x and everything that is shaped like its rows, columns or statistics; true where there is nothing to compute.
struct Operands {
  const Tensor &x, &weight, &bias, &out, &mean, &rstd;
};
bool check(const Operands& o, std::string_view name) {
  const auto what = [&](std::string_view operand) { return fmt::format("[{}] {}", name, operand); };
  require_matrix(o.x, what("x"));
  require(o.x, o.x.shape(), {DType::f32, DType::f64}, what("x"));
  const DType p = o.x.dtype();
  const int64_t rows = o.x.dim(0), columns = o.x.dim(1);
  require(o.weight, {columns}, {p}, what("weight"));
  require_if_defined(o.bias, {columns}, {p}, what("bias"));
  require_if_defined(o.mean, {rows}, {p}, what("mean"));
  require_if_defined(o.rstd, {rows}, {p}, what("rstd"));
  if (p == DType::f64) {
    require(o.out, o.x.shape(), {DType::f64}, what("out beside x in f64"));
  } else {
    require(o.out, o.x.shape(), {DType::f32, DType::bf16}, what("out"));
  }
  return is_meta(o.x) || is_meta(o.out) || o.x.elements() == 0;
}

void layer_norm_f64(const Tensor& x, const Tensor& weight, const Tensor& bias, double epsilon, const Tensor& out,
                    const Tensor& mean, const Tensor& rstd) {
  const int64_t columns = x.dim(1);
  base::parallel_for(x.dim(0), grain_of(columns), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const double* row = x.data<double>() + r * columns;
      double row_mean = 0, row_rstd = 0;
      reference::row_statistics(row, columns, epsilon, &row_mean, &row_rstd);
      if (mean) mean.data<double>()[r] = row_mean;
      if (rstd) rstd.data<double>()[r] = row_rstd;
      reference::normalize_row(row, columns, row_mean, row_rstd, weight.data<double>(), data_or_null<double>(bias),
                               out.data<double>() + r * columns);
    }
  });
}

void run_rows(const cpu::LayerNormRows& rows, int64_t count) {
  instruction_set();
  base::parallel_for(count, grain_of(rows.columns),
                     [&](int64_t first, int64_t last) { cpu::layer_norm_rows(rows, first, last); });
}

}  // namespace

void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double epsilon, Tensor out, Tensor mean,
                Tensor rstd) {
  if (check({x, weight, bias, out, mean, rstd}, "layer_norm")) return;
  if (x.dtype() == DType::f64) return layer_norm_f64(x, weight, bias, epsilon, out, mean, rstd);
  run_rows({.columns = x.dim(1),
            .x = x.data<float>(),
            .delta = nullptr,
            .sum = nullptr,
            .weight = weight.data<float>(),
            .bias = data_or_null<float>(bias),
            .epsilon = static_cast<float>(epsilon),
            .out = out.raw(),
            .mean = data_or_null<float>(mean),
            .rstd = data_or_null<float>(rstd),
            .again = false,
            .activation = out.dtype()},
           x.dim(0));
}

void add_layer_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, const Tensor& bias, double epsilon,
                    Tensor sum, Tensor out, Tensor mean, Tensor rstd) {
  const bool nothing = check({x, weight, bias, out, mean, rstd}, "add_layer_norm");
  require(delta, x.shape(), {out.dtype()}, "[add_layer_norm] delta");
  require(sum, x.shape(), {x.dtype()}, "[add_layer_norm] sum");
  if (nothing) return;
  if (x.dtype() == DType::f64) {
    for (int64_t i = 0; i < x.elements(); ++i) {
      sum.data<double>()[i] = x.data<double>()[i] + delta.data<double>()[i];
    }
    return layer_norm_f64(sum, weight, bias, epsilon, out, mean, rstd);
  }
  run_rows({.columns = x.dim(1),
            .x = x.data<float>(),
            .delta = delta.raw(),
            .sum = sum.data<float>(),
            .weight = weight.data<float>(),
            .bias = data_or_null<float>(bias),
            .epsilon = static_cast<float>(epsilon),
            .out = out.raw(),
            .mean = data_or_null<float>(mean),
            .rstd = data_or_null<float>(rstd),
            .again = false,
            .activation = out.dtype()},
           x.dim(0));
}

void layer_norm_again(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight, const Tensor& bias,
                      Tensor out) {
  const bool nothing = check({x, weight, bias, out, mean, rstd}, "layer_norm_again");
  if (!mean || !rstd) throw base::Error("[layer_norm_again] got no mean or no rstd, expected both");
  if (nothing) return;
  const int64_t columns = x.dim(1);
  if (x.dtype() == DType::f64) {
    for (int64_t r = 0; r < x.dim(0); ++r) {
      reference::normalize_row(x.data<double>() + r * columns, columns, mean.data<double>()[r], rstd.data<double>()[r],
                               weight.data<double>(), data_or_null<double>(bias), out.data<double>() + r * columns);
    }
    return;
  }
  run_rows({.columns = columns,
            .x = x.data<float>(),
            .delta = nullptr,
            .sum = nullptr,
            .weight = weight.data<float>(),
            .bias = data_or_null<float>(bias),
            .epsilon = 0,
            .out = out.raw(),
            .mean = mean.data<float>(),
            .rstd = rstd.data<float>(),
            .again = true,
            .activation = out.dtype()},
           x.dim(0));
}

namespace {

void layer_norm_backward_f64(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                             const Tensor& d_out, const Tensor& d_residual, const Tensor& d_x,
                             const Tensor& d_x_activation, const Tensor& d_weight, const Tensor& d_bias) {
  const int64_t columns = x.dim(1);
  for (int64_t r = 0; r < x.dim(0); ++r) {
    const int64_t at = r * columns;
    const double* row = x.data<double>() + at;
    const double *incoming = d_out.data<double>() + at, row_mean = mean.data<double>()[r],
                 row_rstd = rstd.data<double>()[r];
    reference::layer_norm_backward_parameters(row, columns, row_mean, row_rstd, incoming,
                                              data_or_null<double>(d_weight), data_or_null<double>(d_bias));
    reference::layer_norm_backward_row(row, columns, weight.data<double>(), row_mean, row_rstd, incoming,
                                       d_residual ? d_residual.data<double>() + at : nullptr, d_x.data<double>() + at);
    if (d_x_activation) std::copy_n(d_x.data<double>() + at, columns, d_x_activation.data<double>() + at);
  }
}

}  // namespace

void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& d_out, const Tensor& d_residual, Tensor d_x, Tensor d_x_activation,
                         Tensor d_weight, Tensor d_bias) {
  bool nothing = check({x, weight, d_bias, d_out, mean, rstd}, "layer_norm_backward");
  if (!mean || !rstd) throw base::Error("[layer_norm_backward] got no mean or no rstd, expected both");
  const int64_t rows = x.dim(0), columns = x.dim(1);
  require_if_defined(d_residual, x.shape(), {x.dtype()}, "[layer_norm_backward] d_residual");
  require(d_x, x.shape(), {x.dtype()}, "[layer_norm_backward] d_x");
  require_if_defined(d_x_activation, x.shape(), {d_out.dtype()}, "[layer_norm_backward] d_x_activation");
  require_if_defined(d_weight, {columns}, {x.dtype()}, "[layer_norm_backward] d_weight");
  if (nothing) return;
  if (x.dtype() == DType::f64) {
    return layer_norm_backward_f64(x, weight, mean, rstd, d_out, d_residual, d_x, d_x_activation, d_weight, d_bias);
  }
  instruction_set();
  const cpu::LayerNormBackwardRows operands{.columns = columns,
                                            .x = x.data<float>(),
                                            .weight = weight.data<float>(),
                                            .mean = mean.data<float>(),
                                            .rstd = rstd.data<float>(),
                                            .d_out = d_out.raw(),
                                            .d_residual = data_or_null<float>(d_residual),
                                            .d_x = d_x.data<float>(),
                                            .d_x_activation = d_x_activation ? d_x_activation.raw() : nullptr,
                                            .activation = d_out.dtype()};
  cpu::BlockedSums<float> sums(rows, 2 * columns);
  sums.sum([&](int64_t first, int64_t last, float* partial) {
    std::fill_n(partial, 2 * columns, 0.0f);
    cpu::layer_norm_backward_rows(operands, first, last, partial, partial + columns);
  });
  if (d_weight) sums.add_to(d_weight.data<float>(), 0, columns, true);
  if (d_bias) sums.add_to(d_bias.data<float>(), columns, columns, true);
}

}  // namespace fledge::tensor
