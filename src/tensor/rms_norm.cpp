#include "tensor/rms_norm.h"

#include <algorithm>

#include "base/parallel.h"
#include "tensor/cpu/partials.h"
#include "tensor/cpu/reference/rms_norm.h"
#include "tensor/cpu/rms_norm.h"
#include "tensor/cpu_features.h"
#include "tensor/strided_rows.h"

namespace fledge::tensor {
namespace {

using cpu::Rows;

/// Rows that are worth a thread.
int64_t grain_of(const Rows& x) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, x.heads * x.columns));
}

template <typename T>
T* data_or_null(const Tensor& t) {
  return t ? t.data<T>() : nullptr;
}

struct Operands {
  Rows x, out;
  bool nothing;  ///< to compute
};

Operands check(const Tensor& x, const Tensor& weight, const Tensor& out, const Tensor& rstd, std::string_view name) {
  const auto what = [&](std::string_view operand) { return fmt::format("[{}] {}", name, operand); };
  Operands operands{rows_of(x, {DType::f32, DType::bf16, DType::f64}, what("x")), {}, false};
  const bool wide = x.dtype() == DType::f64;
  operands.out = wide ? rows_of(out, x.shape(), {DType::f64}, what("out beside x in f64"))
                      : rows_of(out, x.shape(), {DType::f32, DType::bf16}, what("out"));
  const DType p = wide ? DType::f64 : DType::f32;
  Shape statistics = x.shape();
  statistics.erase(x.rank() - 1);
  require(weight, {x.dim(-1)}, {p}, what("weight"));
  require_if_defined(rstd, statistics, {p}, what("rstd"));
  operands.nothing = is_meta(x) || is_meta(out) || x.elements() == 0;
  return operands;
}

void normalize(const Operands& o, int64_t count, const Tensor& weight, double epsilon, const Tensor& rstd, bool again) {
  if (o.x.dtype != DType::f64) {
    instruction_set();
    const cpu::RmsNormRows rows{
        o.x, o.out, weight.data<float>(), static_cast<float>(epsilon), data_or_null<float>(rstd), again};
    base::parallel_for(count, grain_of(o.x),
                       [&](int64_t first, int64_t last) { cpu::rms_norm_rows(rows, first, last); });
    return;
  }
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t h = 0; h < o.x.heads; ++h) {
      const auto* row = o.x.at<double>(r, h);
      double* kept = rstd ? rstd.data<double>() + r * o.x.heads + h : nullptr;
      const double factor = again ? *kept : cpu::reference::rms_rstd(row, o.x.columns, epsilon);
      if (kept != nullptr) *kept = factor;
      cpu::reference::rms_normalize_row(row, o.x.columns, factor, weight.data<double>(), o.out.at<double>(r, h));
    }
  }
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& weight, double epsilon, Tensor out, Tensor rstd) {
  const Operands operands = check(x, weight, out, rstd, "rms_norm");
  if (!operands.nothing) normalize(operands, x.dim(0), weight, epsilon, rstd, false);
}

void rms_norm_again(const Tensor& x, const Tensor& rstd, const Tensor& weight, Tensor out) {
  const Operands operands = check(x, weight, out, rstd, "rms_norm_again");
  if (!rstd) throw base::Error("[rms_norm_again] got no rstd, expected one");
  if (!operands.nothing) normalize(operands, x.dim(0), weight, 0, rstd, true);
}

void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& rstd, const Tensor& d_out,
                       const Tensor& d_residual, Tensor d_x, Tensor d_x_activation, Tensor d_weight) {
  const Operands operands = check(x, weight, d_out, rstd, "rms_norm_backward");
  if (!rstd) throw base::Error("[rms_norm_backward] got no rstd, expected one");
  const Rows d_x_rows = rows_of(d_x, x.shape(), {x.dtype()}, "[rms_norm_backward] d_x");
  const Rows residual =
      d_residual ? rows_of(d_residual, x.shape(), {x.dtype()}, "[rms_norm_backward] d_residual") : Rows{};
  const Rows rounded = d_x_activation
                           ? rows_of(d_x_activation, x.shape(), {d_out.dtype()}, "[rms_norm_backward] d_x_activation")
                           : Rows{};
  const int64_t columns = x.dim(-1);
  require_if_defined(d_weight, {columns}, {weight.dtype()}, "[rms_norm_backward] d_weight");
  if (operands.nothing) return;
  if (x.dtype() == DType::f64) {
    for (int64_t r = 0; r < x.dim(0); ++r) {
      for (int64_t h = 0; h < operands.x.heads; ++h) {
        auto* d_row = d_x_rows.at<double>(r, h);
        cpu::reference::rms_norm_backward_row(
            operands.x.at<double>(r, h), columns, weight.data<double>(), rstd.data<double>()[r * operands.x.heads + h],
            operands.out.at<double>(r, h), residual.at<double>(r, h), d_row, data_or_null<double>(d_weight));
        if (rounded) std::copy_n(d_row, columns, rounded.at<double>(r, h));
      }
    }
    return;
  }
  instruction_set();
  const cpu::RmsNormBackwardRows rows{operands.x, operands.out,         d_x_rows,          residual,
                                      rounded,    weight.data<float>(), rstd.data<float>()};
  cpu::BlockedSums<float> sums(x.dim(0), columns);
  sums.sum([&](int64_t first, int64_t last, float* partial) {
    std::fill_n(partial, columns, 0.0f);
    cpu::rms_norm_backward_rows(rows, first, last, partial);
  });
  if (d_weight) sums.add_to(d_weight.data<float>(), 0, columns, true);
}

}  // namespace fledge::tensor
