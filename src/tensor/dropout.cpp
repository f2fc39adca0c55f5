#include "tensor/dropout.h"

#include <cmath>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/dropout.h"
#include "tensor/cpu_features.h"
#include "tensor/elementwise.h"

namespace fledge::tensor {

void dropout(const Tensor& x, double probability, const base::Random& random, uint64_t first_element, Tensor out) {
  if (!x) throw base::Error("[dropout] x: got {}, expected a tensor", describe(x));
  require(x, x.shape(), {DType::f32, DType::bf16, DType::f64}, "[dropout] x");
  require(out, x.shape(), {x.dtype()}, "[dropout] out");
  if (!(probability >= 0 && probability < 1)) {
    throw base::Error("[dropout] got probability {}, expected at least 0 and less than 1", probability);
  }
  if (is_meta(x) || is_meta(out)) return;
  if (probability == 0) {
    copy(x, out);
    return;
  }
  instruction_set();
  // A whole number is at least p 2^32 exactly where it is above this one.
  const auto limit = static_cast<uint32_t>(std::ceil(probability * 0x1p32) - 1);
  const double factor = 1 / (1 - probability);
  constexpr int64_t kGrain = 8192;  // elements that are worth a thread
  base::parallel_for(x.elements(), kGrain, [&](int64_t first, int64_t last) {
    const uint64_t position = first_element + static_cast<uint64_t>(first);
    if (x.dtype() == DType::f64) {
      for (int64_t i = first; i < last; ++i) {
        const uint64_t at = first_element + static_cast<uint64_t>(i);
        const bool kept = random.block(at / 4)[at % 4] > limit;
        out.data<double>()[i] = kept ? x.data<double>()[i] * factor : 0;
      }
    } else {
      const int64_t offset = first * static_cast<int64_t>(size_of(x.dtype()));
      cpu::dropout(x.raw() + offset, x.dtype(), {{random.key(0), random.key(1)}, position, limit},
                   static_cast<float>(factor), out.raw() + offset, last - first);
    }
  });
}

}  // namespace fledge::tensor
