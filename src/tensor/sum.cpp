#include "tensor/sum.h"

#include "base/error.h"

namespace fledge::tensor {
namespace {

template <typename T>
double sum_of(const Tensor& t) {
  double total = 0.0;
  for (int64_t index = 0; index < t.elements(); ++index) total += static_cast<double>(t.data<T>()[index]);
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

}  // namespace fledge::tensor
