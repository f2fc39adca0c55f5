#include "tensor/sum.h"

#include "base/error.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

template <typename T>
double sum_of(const Tensor& t) {
  double total = 0.0;
  for (int64_t index = 0; index < t.elements(); ++index) total += static_cast<double>(t.data<T>()[index]);
  return total;
}

template <typename T>
double dot_of(const Tensor& a, const Tensor& b) {
  double total = 0.0;
  for (int64_t index = 0; index < a.elements(); ++index) {
    total += static_cast<double>(a.data<T>()[index]) * static_cast<double>(b.data<T>()[index]);
  }
  return total;
}

}  // namespace

double sum(const Tensor& t) {
  if (!t || !t.is_contiguous()) throw base::Error("[sum] got {}, expected a contiguous tensor", describe(t));
  if (t.device() == Device::meta) return 0.0;
  switch (t.dtype()) {
    case DType::f64:
      return sum_of<double>(t);
    case DType::f32:
      return sum_of<float>(t);
    case DType::bf16:
      return sum_of<bf16>(t);
    default:
      throw base::Error("[sum] got {}, expected a floating-point tensor", describe(t));
  }
}

double dot(const Tensor& a, const Tensor& b) {
  require(a, a.shape(), {DType::f64, DType::f32}, "[dot] a");
  require(b, a.shape(), {a.dtype()}, "[dot] b");
  if (is_meta(a) || is_meta(b)) return 0.0;
  return a.dtype() == DType::f64 ? dot_of<double>(a, b) : dot_of<float>(a, b);
}

}  // namespace fledge::tensor
