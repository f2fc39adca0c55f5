#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <hwy/targets.h>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "tensor/cpu/reference/elementwise.h"
#include "tensor/cpu_features.h"
#include "tensor/elementwise.h"
#include "tensor/tensor.h"

/// What the tests of kernels share.
namespace fledge::tensor::testing {

/// Calls body() once with every instruction set that the program has kernels for and the machine can run.
template <typename Body>
void on_every_target(const Body& body) {
  instruction_set();
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

/// Calls body() with 1, 2, 3 and 5 threads.
template <typename Body>
void with_thread_counts(const Body& body) {
  const int before = base::thread_count();
  for (const int threads : {1, 2, 3, 5}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    base::set_thread_count(threads);
    body();
  }
  base::set_thread_count(before);
}

/// Lengths around the vector widths of all instruction sets (4, 8, 16 and 32, 64 for four vectors) and beyond a block.
inline const std::vector<int64_t>& odd_lengths() {
  static const std::vector<int64_t> lengths = {0,  1,  3,  4,  5,  7,  8,   9,   15,  16,  17,
                                               31, 32, 33, 63, 64, 65, 100, 127, 129, 1000};
  return lengths;
}

inline Arena& arena() {
  static Arena memory("test");
  return memory;
}

/// Normal numbers, mean and deviation given, in f64.
inline std::vector<double> normal_values(int64_t count, uint64_t seed, double mean = 0, double deviation = 1) {
  const base::Random random(seed, 7);
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = mean + deviation * random.normal(i);
  return values;
}

/// Values rounded to dtype.
inline Tensor make(const std::vector<double>& values, const Shape& shape, DType dtype) {
  Tensor result = Tensor::empty(shape, dtype, arena());
  for (size_t i = 0; i < values.size(); ++i) {
    cpu::reference::set(result.raw(), dtype, static_cast<int64_t>(i), values[i]);
  }
  return result;
}

inline Tensor make_normal(const Shape& shape, DType dtype, uint64_t seed, double mean = 0, double deviation = 1) {
  return make(normal_values(shape.elements(), seed, mean, deviation), shape, dtype);
}

/// The elements of a contiguous tensor in f64, exactly.
inline std::vector<double> values_of(const Tensor& t) {
  std::vector<double> values(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = cpu::reference::get(t.raw(), t.dtype(), static_cast<int64_t>(i));
  }
  return values;
}

/// The same elements in f64.
inline Tensor widened(const Tensor& t) {
  return make(values_of(t), t.shape(), DType::f64);
}

/// Bits of a contiguous tensor, to compare exactly.
inline std::string bits_of(const Tensor& t) {
  return {reinterpret_cast<const char*>(t.raw()), t.bytes()};
}

/// Every |actual - expected| <= absolute + relative |expected| (+ half a bf16 step of the result where it is bf16).
inline void expect_close(const Tensor& actual, const std::vector<double>& expected, double absolute, double relative) {
  const std::vector<double> values = values_of(actual);
  ASSERT_EQ(values.size(), expected.size());
  const double rounding = actual.dtype() == DType::bf16 ? 0x1p-8 : 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double allowed = absolute + (relative + rounding) * std::abs(expected[i]);
    ASSERT_LE(std::abs(values[i] - expected[i]), allowed)
        << describe(actual) << " element " << i << ": " << values[i] << ", expected " << expected[i];
  }
}

/// d(sum of output * weights) / d(input[i]) by central differences of a f64 forward pass, against `gradient`.
/// The error of the difference is about h^2 |f'''| / 6 + 1e-16 |f| / h: with h = 1e-5, near 1e-10 for sums of size 10.
template <typename Loss>
void expect_gradient(const Tensor& input, const Tensor& gradient, const Loss& loss, double tolerance = 1e-8) {
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < input.elements(); ++i) {
    double& element = input.data<double>()[i];
    const double before = element;
    element = before + kStep;
    const double above = loss();
    element = before - kStep;
    const double below = loss();
    element = before;
    const double expected = (above - below) / (2 * kStep);
    ASSERT_NEAR(gradient.data<double>()[i], expected, tolerance * (1 + std::abs(expected))) << "element " << i;
  }
}

/// Sum of a * b.
inline double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.elements(); ++i) sum += a.data<double>()[i] * b.data<double>()[i];
  return sum;
}

/// Matches a call that throws base::Error with a message that contains `text`.
#define EXPECT_ERROR(call, text) \
  EXPECT_THAT([&] { call; }, ::testing::ThrowsMessage<::fledge::base::Error>(::testing::HasSubstr(text)))

}  // namespace fledge::tensor::testing
