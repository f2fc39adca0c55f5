#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "grad/graph.h"

namespace fledge::test {

/// Arenas, inputs and parameters of one differentiable operation under test, in one arithmetic: f64, f32 or bf16.
class OperationBench {
 public:
  explicit OperationBench(tensor::DType activation_type) : activation_type_(activation_type) {}

  tensor::DType activation_type() const { return activation_type_; }
  tensor::DType parameter_type() const {
    return activation_type_ == tensor::DType::f64 ? tensor::DType::f64 : tensor::DType::f32;
  }
  tensor::Arena& arena() { return arena_; }

  /// `values` as a tensor of a floating-point type.
  tensor::Tensor make(const std::vector<double>& values, const tensor::Shape& shape, tensor::DType type) {
    if (type == tensor::DType::f64) return tensor::Tensor::from(values, shape, arena_);
    if (type == tensor::DType::f32) {
      return tensor::Tensor::from(std::vector<float>(values.begin(), values.end()), shape, arena_);
    }
    std::vector<tensor::bf16> rounded;
    for (const double value : values) rounded.push_back(tensor::bf16::from(static_cast<float>(value)));
    return tensor::Tensor::from(rounded, shape, arena_);
  }

  std::unique_ptr<grad::Parameter> parameter(const std::string& name, const std::vector<double>& values,
                                             const tensor::Shape& shape) {
    auto result = std::make_unique<grad::Parameter>(name, shape);
    result->bind(make(values, shape, parameter_type()), tensor::Tensor::zeros(shape, parameter_type(), arena_));
    return result;
  }

  grad::Graph graph(bool recording = true) { return grad::Graph(arena_, encodings_, activation_type_, recording); }

 private:
  tensor::DType activation_type_;
  tensor::Arena arena_{"test"}, encodings_{"test encodings"};
};

/// The elements of a floating-point tensor as f64.
inline std::vector<double> as_doubles(const tensor::Tensor& t) {
  std::vector<double> values;
  const auto take = [&](const auto& stored) {
    for (const auto value : stored) values.push_back(static_cast<double>(value));
  };
  if (t.dtype() == tensor::DType::f64) {
    take(t.to_vector<double>());
  } else if (t.dtype() == tensor::DType::f32) {
    take(t.to_vector<float>());
  } else {
    for (const tensor::bf16 value : t.to_vector<tensor::bf16>()) values.push_back(static_cast<float>(value));
  }
  return values;
}

/// Normal numbers, a function of the seed.
inline std::vector<double> normals(size_t count, uint64_t seed) {
  const base::Random random(seed, 7);
  std::vector<double> values(count);
  for (size_t index = 0; index < count; ++index) values[index] = random.normal(index);
  return values;
}

/// |a - b| / |b| over all elements (|a| where b is zero).
inline double relative_error(const std::vector<double>& actual, const std::vector<double>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  if (actual.size() != expected.size()) return HUGE_VAL;
  double difference = 0.0, size = 0.0;
  for (size_t index = 0; index < actual.size(); ++index) {
    difference += (actual[index] - expected[index]) * (actual[index] - expected[index]);
    size += expected[index] * expected[index];
  }
  return std::sqrt(size > 0.0 ? difference / size : difference);
}

/// Compares a gradient with central differences of `loss`, a function of the values in `place` (f64).
/// The error of a central difference is h^2/6 |f'''| + u |f| / h: with h = 1e-5 about 1e-10 for losses of order one.
inline void expect_finite_differences(const tensor::Tensor& place, const std::vector<double>& gradient,
                                      const std::function<double()>& loss, const std::string& name) {
  constexpr double kStep = 1e-5;
  std::vector<double> numeric(gradient.size());
  auto* values = place.data<double>();
  for (size_t index = 0; index < gradient.size(); ++index) {
    const double kept = values[index];
    values[index] = kept + kStep;
    const double above = loss();
    values[index] = kept - kStep;
    const double below = loss();
    values[index] = kept;
    numeric[index] = (above - below) / (2.0 * kStep);
  }
  EXPECT_LT(relative_error(gradient, numeric), 1e-7) << name;
}

}  // namespace fledge::test
