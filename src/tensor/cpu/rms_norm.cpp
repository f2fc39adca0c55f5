#include "tensor/cpu/rms_norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rms_norm.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <cmath>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

template <typename X>
HWY_INLINE float rstd_of(const X* row, size_t columns, float epsilon) {
  const FloatTag d;
  FloatVector squares[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_each_vector_by_four(columns, [&](auto place, auto group) HWY_ATTR {
    const auto v = place.load_from(row);
    squares[group] = hn::MulAdd(v, v, squares[group]);
  });
  const float sum = sum_of_lanes(hn::Add(hn::Add(squares[0], squares[1]), hn::Add(squares[2], squares[3])));
  return 1.0f / std::sqrt(sum / static_cast<float>(columns) + epsilon);
}

void rms_norm_rows(const RmsNormRows& p, int64_t first, int64_t last) {
  const FloatTag d;
  const auto columns = static_cast<size_t>(p.x.columns);
  const auto run = [&](auto x_element, auto out_element) HWY_ATTR {
    using X = decltype(x_element);
    using A = decltype(out_element);
    for (int64_t r = first; r < last; ++r) {
      for (int64_t h = 0; h < p.x.heads; ++h) {
        const X* row = p.x.at<X>(r, h);
        A* out = p.out.at<A>(r, h);
        float* kept = p.rstd != nullptr ? p.rstd + r * p.x.heads + h : nullptr;
        const float rstd = p.again ? *kept : rstd_of(row, columns, p.epsilon);
        if (kept != nullptr) *kept = rstd;
        const auto factor = hn::Set(d, rstd);
        for_each_vector(columns, [&](auto place) HWY_ATTR {
          place.store_to(out, hn::Mul(hn::Mul(place.load_from(row), factor), place.load_from(p.weight)));
        });
      }
    }
  };
  with_element(p.x.dtype, [&](auto x_element) HWY_ATTR {
    with_element(p.out.dtype, [&](auto out_element) HWY_ATTR { run(x_element, out_element); });
  });
}

/// One row: adds to the weight's gradient and returns mean(g n), g = d_out * weight, n = x * rstd.
template <typename X, typename A>
HWY_INLINE float backward_mean(const X* x, const float* weight, float rstd, const A* d_out, size_t columns,
                               float* d_weight) {
  const FloatTag d;
  const auto factor = hn::Set(d, rstd);
  FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_each_vector_by_four(columns, [&](auto place, auto group) HWY_ATTR {
    const auto product = hn::Mul(place.load_from(d_out), hn::Mul(place.load_from(x), factor));
    place.store_to(d_weight, hn::Add(product, place.load_from(d_weight)));
    sums[group] = hn::MulAdd(product, place.load_from(weight), sums[group]);
  });
  return sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))) / static_cast<float>(columns);
}

void rms_norm_backward_rows(const RmsNormBackwardRows& p, int64_t first, int64_t last, float* d_weight) {
  const FloatTag d;
  const auto columns = static_cast<size_t>(p.x.columns);
  const auto run = [&](auto x_element, auto out_element) HWY_ATTR {
    using X = decltype(x_element);
    using A = decltype(out_element);
    for (int64_t r = first; r < last; ++r) {
      for (int64_t h = 0; h < p.x.heads; ++h) {
        const X* x = p.x.at<X>(r, h);
        const A* d_out = p.d_out.at<A>(r, h);
        const float rstd = p.rstd[r * p.x.heads + h];
        const float mean = backward_mean(x, p.weight, rstd, d_out, columns, d_weight);
        // d_x = rstd (g - n mean) = rstd g - x (rstd^2 mean)
        const auto factor = hn::Set(d, rstd), pull = hn::Set(d, rstd * rstd * mean);
        const X* d_residual = p.d_residual.at<X>(r, h);
        X* d_x = p.d_x.at<X>(r, h);
        A* d_x_activation = p.d_x_activation.at<A>(r, h);
        for_each_vector(columns, [&](auto place) HWY_ATTR {
          const auto g = hn::Mul(place.load_from(d_out), place.load_from(p.weight));
          auto v = hn::NegMulAdd(place.load_from(x), pull, hn::Mul(g, factor));
          if (d_residual != nullptr) v = hn::Add(v, place.load_from(d_residual));
          place.store_to(d_x, v);
          if (d_x_activation != nullptr) place.store_to(d_x_activation, v);
        });
      }
    }
  };
  with_element(p.x.dtype, [&](auto x_element) HWY_ATTR {
    with_element(p.d_out.dtype, [&](auto out_element) HWY_ATTR { run(x_element, out_element); });
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(rms_norm_backward_rows);
}  // namespace

void rms_norm_rows(const RmsNormRows& operands, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(rms_norm_rows)(operands, first, last);
}

void rms_norm_backward_rows(const RmsNormBackwardRows& operands, int64_t first, int64_t last, float* d_weight) {
  HWY_DYNAMIC_DISPATCH(rms_norm_backward_rows)(operands, first, last, d_weight);
}

}  // namespace fledge::tensor::cpu
#endif
