#include "tensor/cpu/cross_entropy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/cross_entropy.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "tensor/cpu/math-inl.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

Softmax softmax_statistics(const float* row, int64_t columns) {
  // A block stays in the nearest cache between its two readings: its greatest element, then the sum.
  constexpr size_t kBlock = 2048;
  const FloatTag d;
  float greatest = -std::numeric_limits<float>::infinity();
  double sum = 0;
  const auto size = static_cast<size_t>(columns);
  for (size_t start = 0; start < size; start += kBlock) {
    const float* block = row + start;
    const size_t count = HWY_MIN(kBlock, size - start);
    const float block_greatest = greatest_of(block, count);
    if (block_greatest > greatest) {
      sum = sum == 0 ? 0 : sum * std::exp(static_cast<double>(greatest) - static_cast<double>(block_greatest));
      greatest = block_greatest;
    }
    // Where all so far is -infinity (masked), nothing is taken from it: the sum stays 0.
    const auto shift = hn::Set(d, greatest == -std::numeric_limits<float>::infinity() ? 0 : greatest);
    FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for_each_vector_by_four(count, [&](auto place, auto group) HWY_ATTR {
      const auto e = exp(d, hn::Sub(place.load_from(block), shift));
      sums[group] = hn::Add(sums[group], place.only(e));
    });
    sum += static_cast<double>(sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
  }
  return {greatest, sum};
}

void exponentials(const float* row, int64_t columns, float greatest, float factor, void* out, DType out_dtype) {
  with_element(out_dtype, [&](auto element) HWY_ATTR {
    const FloatTag d;
    const auto shift = hn::Set(d, greatest), scale = hn::Set(d, factor);
    auto* target = static_cast<decltype(element)*>(out);
    for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
      place.store_to(target, hn::Mul(exp(d, hn::Sub(place.load_from(row), shift)), scale));
    });
  });
}

void log_probabilities(const float* row, int64_t columns, float greatest, float logarithm, float* out) {
  const FloatTag d;
  const auto shift = hn::Set(d, greatest), offset = hn::Set(d, logarithm);
  for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
    place.store_to(out, hn::Sub(hn::Sub(place.load_from(row), shift), offset));
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(softmax_statistics);
HWY_EXPORT(exponentials);
HWY_EXPORT(log_probabilities);
}  // namespace

Softmax softmax_statistics(const float* row, int64_t columns) {
  return HWY_DYNAMIC_DISPATCH(softmax_statistics)(row, columns);
}

void exponentials(const float* row, int64_t columns, float greatest, float factor, void* out, DType out_dtype) {
  HWY_DYNAMIC_DISPATCH(exponentials)(row, columns, greatest, factor, out, out_dtype);
}

void log_probabilities(const float* row, int64_t columns, float greatest, float logarithm, float* out) {
  HWY_DYNAMIC_DISPATCH(log_probabilities)(row, columns, greatest, logarithm, out);
}

}  // namespace fledge::tensor::cpu
#endif
