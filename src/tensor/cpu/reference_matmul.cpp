#include "tensor/cpu/reference_matmul.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "base/parallel.h"

namespace fledge::tensor::cpu {
namespace {

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu_exact:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

void finish_row(const Epilogue& epilogue, int64_t row, const std::vector<double>& sums, double* out) {
  for (size_t column = 0; column < sums.size(); ++column) {
    double value = sums[column];
    if (epilogue.accumulate) value += out[column];
    if (epilogue.addend) value += (epilogue.addend.data<double>() + row * epilogue.addend.stride(0))[column];
    if (epilogue.unscaled) {
      (epilogue.unscaled.data<double>() + row * epilogue.unscaled.stride(0))[column] = value;
    }
    if (epilogue.scale) {
      const int64_t stride = epilogue.scale.rank() == 1 ? 0 : epilogue.scale.stride(0);
      value *= (epilogue.scale.data<double>() + row * stride)[column];
    }
    if (epilogue.bias) value += epilogue.bias.data<double>()[column];
    if (epilogue.preactivation) {
      (epilogue.preactivation.data<double>() + row * epilogue.preactivation.stride(0))[column] = value;
    }
    value = activate(epilogue.activation, value);
    if (epilogue.residual) value += (epilogue.residual.data<double>() + row * epilogue.residual.stride(0))[column];
    out[column] = value;
  }
}

/// sums += row of a times b.
void add_products(const Tensor& a, const Tensor& b, int64_t row, std::vector<double>& sums) {
  const double* left = a.data<double>() + row * a.stride(0);
  for (int64_t k = 0; k < a.dim(1); ++k) {
    const double factor = left[k * a.stride(1)];
    const double* right = b.data<double>() + k * b.stride(0);
    for (int64_t column = 0; column < b.dim(1); ++column) {
      sums[static_cast<size_t>(column)] += factor * right[column * b.stride(1)];
    }
  }
}

}  // namespace

void reference_matmul(const Tensor& a, const Tensor& b, Tensor& out, const Epilogue& epilogue) {
  const int64_t columns = b.dim(1);
  base::parallel_for(a.dim(0), 1, [&](int64_t first, int64_t last) {
    std::vector<double> sums(static_cast<size_t>(columns));
    for (int64_t row = first; row < last; ++row) {
      std::fill(sums.begin(), sums.end(), 0.0);
      add_products(a, b, row, sums);
      for (const ProductTerm& term : epilogue.terms) add_products(term.a, term.b->bytes, row, sums);
      finish_row(epilogue, row, sums, out.data<double>() + row * out.stride(0));
    }
  });
}

void copy_matrix(const Tensor& source, Tensor& target) {
  base::parallel_for(source.dim(0), 1, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const double* from = source.data<double>() + row * source.stride(0);
      double* to = target.data<double>() + row * target.stride(0);
      for (int64_t column = 0; column < source.dim(1); ++column) to[column] = from[column * source.stride(1)];
    }
  });
}

}  // namespace fledge::tensor::cpu
