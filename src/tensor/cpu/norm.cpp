#include "tensor/cpu/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/norm.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cmath>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

struct Statistics {
  float mean, rstd;
};

/// The deviations are taken from a first estimate of the mean and their own mean corrects it, so that the variance has
/// all its digits also where the mean is large beside it. Meanwhile the row that comes next is brought near: a row's
/// first reading is all that waits for the memory.
HWY_INLINE Statistics statistics_of(const float* row, size_t columns, float estimate, float epsilon,
                                    const float* next) {
  const FloatTag d;
  const auto center = hn::Set(d, estimate);
  FloatVector sum0 = hn::Zero(d), sum1 = sum0, squares0 = sum0, squares1 = sum0;
  for_each_vector_by_four(columns, [&](auto place, auto group) HWY_ATTR {
    hwy::Prefetch(next + place.at);
    const auto deviation = place.only(hn::Sub(place.load_from(row), center));
    if constexpr (group % 2 == 0) {
      sum0 = hn::Add(sum0, deviation);
      squares0 = hn::MulAdd(deviation, deviation, squares0);
    } else {
      sum1 = hn::Add(sum1, deviation);
      squares1 = hn::MulAdd(deviation, deviation, squares1);
    }
  });
  const float count = static_cast<float>(columns);
  const float correction = sum_of_lanes(hn::Add(sum0, sum1)) / count;
  const float variance = sum_of_lanes(hn::Add(squares0, squares1)) / count - correction * correction;
  return {estimate + correction, 1.0f / std::sqrt((variance > 0 ? variance : 0 * variance) + epsilon)};
}

/// out = (x - mean) * rstd * weight + bias: the one place where the forward pass and its repetition compute it.
template <typename A>
HWY_INLINE void normalize(const float* row, size_t columns, Statistics statistics, const float* weight,
                          const float* bias, A* out) {
  const FloatTag d;
  const auto mean = hn::Set(d, statistics.mean), rstd = hn::Set(d, statistics.rstd);
  if (bias != nullptr) {
    for_each_vector(columns, [&](auto place) HWY_ATTR {
      const auto n = hn::Mul(hn::Sub(place.load_from(row), mean), rstd);
      place.store_to(out, hn::MulAdd(n, place.load_from(weight), place.load_from(bias)));
    });
  } else {
    for_each_vector(columns, [&](auto place) HWY_ATTR {
      const auto n = hn::Mul(hn::Sub(place.load_from(row), mean), rstd);
      place.store_to(out, hn::Mul(n, place.load_from(weight)));
    });
  }
}

/// Mean of a row to about single precision; stores x + delta on the way where there is a delta.
template <typename A>
HWY_INLINE float estimate_mean(const float* x, const A* delta, float* sum, size_t columns) {
  const FloatTag d;
  FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  if (delta == nullptr) {
    for_each_vector_by_four(
        columns, [&](auto place, auto group) HWY_ATTR { sums[group] = hn::Add(sums[group], place.load_from(x)); });
  } else {
    for_each_vector_by_four(columns, [&](auto place, auto group) HWY_ATTR {
      const auto v = hn::Add(place.load_from(x), place.load_from(delta));
      place.store_to(sum, v);
      sums[group] = hn::Add(sums[group], v);
    });
  }
  return sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))) / static_cast<float>(columns);
}

void layer_norm_rows(const LayerNormRows& p, int64_t first, int64_t last) {
  const auto columns = static_cast<size_t>(p.columns);
  with_element(p.activation, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    for (int64_t r = first; r < last; ++r) {
      const int64_t at = r * p.columns;
      const float* row = p.x + at;
      Statistics statistics;
      if (p.again) {
        statistics = {p.mean[r], p.rstd[r]};
      } else {
        const A* delta = p.delta != nullptr ? static_cast<const A*>(p.delta) + at : nullptr;
        float* sum = p.delta != nullptr ? p.sum + at : nullptr;
        const float estimate = estimate_mean(row, delta, sum, columns);
        if (delta != nullptr) row = sum;
        const float* next = r + 1 < last ? p.x + at + p.columns : row;
        statistics = statistics_of(row, columns, estimate, p.epsilon, next);
        if (p.mean != nullptr) p.mean[r] = statistics.mean;
        if (p.rstd != nullptr) p.rstd[r] = statistics.rstd;
      }
      normalize(row, columns, statistics, p.weight, p.bias, static_cast<A*>(p.out) + at);
    }
  });
}

/// One row: adds to the parameters' gradients and returns mean(g) and mean(g n), g = d_out * weight.
struct Means {
  float g, gn;
};
template <typename A>
HWY_INLINE Means backward_sums(const float* x, const float* weight, Statistics statistics, const A* d_out,
                               size_t columns, float* d_weight, float* d_bias) {
  const FloatTag d;
  const auto mean = hn::Set(d, statistics.mean), rstd = hn::Set(d, statistics.rstd);
  FloatVector g0 = hn::Zero(d), g1 = g0, gn0 = g0, gn1 = g0;
  for_each_vector_by_four(columns, [&](auto place, auto group) HWY_ATTR {
    // Beyond the end of a row d_out and weight are 0, and so is all that is summed.
    const auto incoming = place.load_from(d_out);
    const auto n = hn::Mul(hn::Sub(place.load_from(x), mean), rstd);
    place.store_to(d_weight, hn::MulAdd(incoming, n, place.load_from(d_weight)));
    place.store_to(d_bias, hn::Add(incoming, place.load_from(d_bias)));
    const auto g = hn::Mul(incoming, place.load_from(weight));
    if constexpr (group % 2 == 0) {
      g0 = hn::Add(g0, g);
      gn0 = hn::MulAdd(g, n, gn0);
    } else {
      g1 = hn::Add(g1, g);
      gn1 = hn::MulAdd(g, n, gn1);
    }
  });
  const float count = static_cast<float>(columns);
  return {sum_of_lanes(hn::Add(g0, g1)) / count, sum_of_lanes(hn::Add(gn0, gn1)) / count};
}

void layer_norm_backward_rows(const LayerNormBackwardRows& p, int64_t first, int64_t last, float* d_weight,
                              float* d_bias) {
  const FloatTag d;
  const auto columns = static_cast<size_t>(p.columns);
  with_element(p.activation, [&](auto element) HWY_ATTR {
    using A = decltype(element);
    for (int64_t r = first; r < last; ++r) {
      const int64_t at = r * p.columns;
      const float* x = p.x + at;
      const A* d_out = static_cast<const A*>(p.d_out) + at;
      const Statistics statistics{p.mean[r], p.rstd[r]};
      const Means means = backward_sums(x, p.weight, statistics, d_out, columns, d_weight, d_bias);
      const auto mean = hn::Set(d, statistics.mean), rstd = hn::Set(d, statistics.rstd);
      const auto mean_g = hn::Set(d, means.g), mean_gn = hn::Set(d, means.gn);
      const auto gradient = [&](auto place) HWY_ATTR {
        const auto n = hn::Mul(hn::Sub(place.load_from(x), mean), rstd);
        const auto g = hn::MulSub(place.load_from(d_out), place.load_from(p.weight), mean_g);
        return hn::Mul(rstd, hn::NegMulAdd(n, mean_gn, g));
      };
      const float* d_residual = p.d_residual != nullptr ? p.d_residual + at : nullptr;
      float* d_x = p.d_x + at;
      A* d_x_activation = p.d_x_activation != nullptr ? static_cast<A*>(p.d_x_activation) + at : nullptr;
      for_each_vector(columns, [&](auto place) HWY_ATTR {
        auto v = gradient(place);
        if (d_residual != nullptr) v = hn::Add(v, place.load_from(d_residual));
        place.store_to(d_x, v);
        if (d_x_activation != nullptr) place.store_to(d_x_activation, v);
      });
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(layer_norm_rows);
HWY_EXPORT(layer_norm_backward_rows);
}  // namespace

void layer_norm_rows(const LayerNormRows& operands, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(layer_norm_rows)(operands, first, last);
}

void layer_norm_backward_rows(const LayerNormBackwardRows& operands, int64_t first, int64_t last, float* d_weight,
                              float* d_bias) {
  HWY_DYNAMIC_DISPATCH(layer_norm_backward_rows)(operands, first, last, d_weight, d_bias);
}

}  // namespace fledge::tensor::cpu
#endif
