#include "tensor/random.h"

#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/parallel.h"

namespace fledge::tensor {
namespace {

/// Calls value(i) for every element of t, f32 or f64.
template <typename Value>
void fill_each(Tensor& t, std::string_view name, const Value& value) {
  const bool known = t.dtype() == DType::f32 || t.dtype() == DType::f64;
  if (!known || !t.is_contiguous()) throw base::Error("[{}] got {}, expected f32 or f64", name, describe(t));
  if (t.device() == Device::meta) return;
  const auto fill = [&](auto* values) {
    base::parallel_for(t.elements(), 4096, [&](int64_t first, int64_t last) {
      for (int64_t index = first; index < last; ++index) {
        values[index] = static_cast<std::remove_reference_t<decltype(*values)>>(value(static_cast<uint64_t>(index)));
      }
    });
  };
  t.dtype() == DType::f32 ? fill(t.data<float>()) : fill(t.data<double>());
}

}  // namespace

void fill_normal(Tensor& t, double mean, double standard_deviation, const base::Random& random) {
  fill_each(t, "fill_normal", [&](uint64_t index) { return mean + standard_deviation * random.normal(index); });
}

void fill_uniform(Tensor& t, double bound, const base::Random& random) {
  fill_each(t, "fill_uniform", [&](uint64_t index) { return bound * (2.0 * random.uniform_double(index) - 1.0); });
}

}  // namespace fledge::tensor
