#include "tensor/argmax.h"

#include <algorithm>

#include "base/parallel.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

template <typename Real>
void run(const Tensor& x, std::vector<int32_t>& places) {
  const int64_t columns = x.dim(1);
  base::parallel_for(
      x.dim(0), std::max<int64_t>(1, 8192 / std::max<int64_t>(1, columns)), [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          const Real* row = x.data<Real>() + r * columns;
          places[static_cast<size_t>(r)] = static_cast<int32_t>(std::max_element(row, row + columns) - row);
        }
      });
}

}  // namespace

std::vector<int32_t> argmax_rows(const Tensor& x) {
  require_matrix(x, "[argmax_rows] x");
  require(x, x.shape(), {DType::f32, DType::f64}, "[argmax_rows] x");
  std::vector<int32_t> places(static_cast<size_t>(x.dim(0)));
  if (is_meta(x)) return places;
  x.dtype() == DType::f64 ? run<double>(x, places) : run<float>(x, places);
  return places;
}

}  // namespace fledge::tensor
