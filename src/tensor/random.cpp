#include "tensor/random.h"

#include "base/error.h"
#include "base/parallel.h"

namespace fledge::tensor {
namespace {

template <typename T>
void fill(T* values, int64_t count, double mean, double deviation, const base::Random& random) {
  base::parallel_for(count, 4096, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      values[index] = static_cast<T>(mean + deviation * random.normal(static_cast<uint64_t>(index)));
    }
  });
}

}  // namespace

void fill_normal(Tensor& t, double mean, double standard_deviation, const base::Random& random) {
  const bool known = t.dtype() == DType::f32 || t.dtype() == DType::f64;
  if (!known || !t.is_contiguous()) throw base::Error("[fill_normal] got {}, expected f32 or f64", describe(t));
  if (t.device() == Device::meta) return;
  if (t.dtype() == DType::f32) {
    fill(t.data<float>(), t.elements(), mean, standard_deviation, random);
  } else {
    fill(t.data<double>(), t.elements(), mean, standard_deviation, random);
  }
}

}  // namespace fledge::tensor
