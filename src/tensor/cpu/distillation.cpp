#include "tensor/cpu/distillation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/distillation.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "tensor/cpu/math-inl.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

// Sums run in f32 over a block and in f64 over the blocks.
constexpr size_t kBlock = 2048;

Softmax tempered_statistics(const float* row, int64_t columns, float factor) {
  const FloatTag d;
  const auto size = static_cast<size_t>(columns);
  const float top = greatest_of(row, size);
  const auto shift = hn::Set(d, top), scale = hn::Set(d, factor);
  double sum = 0;
  for (size_t start = 0; start < size; start += kBlock) {
    FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for_each_vector_by_four(HWY_MIN(kBlock, size - start), [&](auto place, auto group) HWY_ATTR {
      const auto e = exp(d, hn::Mul(hn::Sub(place.load_from(row + start), shift), scale));
      sums[group] = hn::Add(sums[group], place.only(e));
    });
    sum += static_cast<double>(sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
  }
  return {top, sum};
}

/// Exponents of a row's elements: (element - greatest) * factor.
struct Exponent {
  const float* row;
  FloatVector shift, scale;
  Exponent(const TemperedRow& from, float factor)
      : row(from.logits), shift(hn::Set(FloatTag(), from.softmax.greatest)), scale(hn::Set(FloatTag(), factor)) {}
  template <class Place>
  HWY_INLINE FloatVector at(const Place& place) const {
    return hn::Mul(hn::Sub(place.load_from(row), shift), scale);
  }
};

double divergence(const TemperedRow& p, const TemperedRow& q, int64_t columns, float factor) {
  const FloatTag d;
  const auto size = static_cast<size_t>(columns);
  const auto offset = hn::Set(d, static_cast<float>(std::log(q.softmax.sum) - std::log(p.softmax.sum)));
  const auto zero = hn::Zero(d);
  double total = 0;
  for (size_t start = 0; start < size; start += kBlock) {
    const Exponent of_p({p.logits + start, p.softmax}, factor), of_q({q.logits + start, q.softmax}, factor);
    FloatVector sums[4] = {zero, zero, zero, zero};
    for_each_vector_by_four(HWY_MIN(kBlock, size - start), [&](auto place, auto group) HWY_ATTR {
      const auto a = of_p.at(place);
      const auto weight = exp(d, a);
      const auto term = hn::Mul(weight, hn::Add(hn::Sub(a, of_q.at(place)), offset));
      // Where p is 0 there is nothing to add, whatever q is; a NaN in p still comes through.
      const auto counted = hn::IfThenZeroElse(hn::Eq(weight, zero), term);
      sums[group] = hn::Add(sums[group], place.only(counted));
    });
    total += static_cast<double>(sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
  }
  return total / p.softmax.sum;
}

bool same_greatest(const TemperedRow& a, const TemperedRow& b, int64_t columns) {
  const FloatTag d;
  const auto size = static_cast<size_t>(columns);
  const size_t lanes = hn::Lanes(d);
  const auto top_a = hn::Set(d, a.softmax.greatest), top_b = hn::Set(d, b.softmax.greatest);
  size_t at = 0;
  for (; at + lanes <= size; at += lanes) {
    const auto both = hn::And(hn::Eq(hn::LoadU(d, a.logits + at), top_a), hn::Eq(hn::LoadU(d, b.logits + at), top_b));
    if (!hn::AllFalse(d, both)) return true;
  }
  for (; at < size; ++at) {
    if (a.logits[at] == a.softmax.greatest && b.logits[at] == b.softmax.greatest) return true;
  }
  return false;
}

void forward_gradient(const TemperedRow& student, const TemperedRow& teacher, int64_t columns, float factor,
                      const ForwardGradient& weights, void* out, DType out_dtype) {
  with_element(out_dtype, [&](auto element) HWY_ATTR {
    const FloatTag d;
    const Exponent plain(student, 1), of_student(student, factor), of_teacher(teacher, factor);
    const auto plain_weight = hn::Set(d, weights.plain), student_weight = hn::Set(d, weights.student),
               teacher_weight = hn::Set(d, weights.teacher);
    auto* target = static_cast<decltype(element)*>(out);
    for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
      auto sum = hn::Mul(exp(d, of_student.at(place)), student_weight);
      if (weights.plain != 0) sum = hn::MulAdd(exp(d, plain.at(place)), plain_weight, sum);
      place.store_to(target, hn::NegMulAdd(exp(d, of_teacher.at(place)), teacher_weight, sum));
    });
  });
}

void reverse_gradient(const TemperedRow& student, const TemperedRow& teacher, int64_t columns, float factor,
                      const ReverseGradient& weights, void* out, DType out_dtype) {
  with_element(out_dtype, [&](auto element) HWY_ATTR {
    const FloatTag d;
    const Exponent plain(student, 1), of_student(student, factor), of_teacher(teacher, factor);
    const auto plain_weight = hn::Set(d, weights.plain), student_weight = hn::Set(d, weights.student);
    const auto offset = hn::Set(d, static_cast<float>(std::log(teacher.softmax.sum) - std::log(student.softmax.sum) -
                                                      static_cast<double>(weights.divergence)));
    auto* target = static_cast<decltype(element)*>(out);
    for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
      const auto exponent = of_student.at(place);
      const auto probability = exp(d, exponent);
      const auto ratio = hn::Add(hn::Sub(exponent, of_teacher.at(place)), offset);
      auto sum =
          hn::IfThenZeroElse(hn::Eq(probability, hn::Zero(d)), hn::Mul(hn::Mul(probability, ratio), student_weight));
      if (weights.plain != 0) sum = hn::MulAdd(exp(d, plain.at(place)), plain_weight, sum);
      place.store_to(target, sum);
    });
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(tempered_statistics);
HWY_EXPORT(divergence);
HWY_EXPORT(same_greatest);
HWY_EXPORT(forward_gradient);
HWY_EXPORT(reverse_gradient);
}  // namespace

Softmax tempered_statistics(const float* row, int64_t columns, float factor) {
  return HWY_DYNAMIC_DISPATCH(tempered_statistics)(row, columns, factor);
}

double divergence(const TemperedRow& p, const TemperedRow& q, int64_t columns, float factor) {
  return HWY_DYNAMIC_DISPATCH(divergence)(p, q, columns, factor);
}

bool same_greatest(const TemperedRow& a, const TemperedRow& b, int64_t columns) {
  return HWY_DYNAMIC_DISPATCH(same_greatest)(a, b, columns);
}

void forward_gradient(const TemperedRow& student, const TemperedRow& teacher, int64_t columns, float factor,
                      const ForwardGradient& weights, void* out, DType out_dtype) {
  HWY_DYNAMIC_DISPATCH(forward_gradient)(student, teacher, columns, factor, weights, out, out_dtype);
}

void reverse_gradient(const TemperedRow& student, const TemperedRow& teacher, int64_t columns, float factor,
                      const ReverseGradient& weights, void* out, DType out_dtype) {
  HWY_DYNAMIC_DISPATCH(reverse_gradient)(student, teacher, columns, factor, weights, out, out_dtype);
}

}  // namespace fledge::tensor::cpu
#endif
