#include "tensor/gather.h"

#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace fledge::tensor {
namespace {

constexpr int64_t kRowsPerThread = 64;

void check(const Tensor& few, const Tensor& rows, const Tensor& many, const char* name) {
  const bool fits = few.rank() == 2 && many.rank() == 2 && few.dim(1) == many.dim(1) && few.dtype() == many.dtype() &&
                    few.dim(0) == rows.elements() && few.stride(1) == 1 && many.stride(1) == 1;
  if (!fits) throw base::Error("[{}] got {} and {} for {} rows", name, describe(few), describe(many), rows.elements());
}

}  // namespace

int64_t compact_targets(const Tensor& targets, Tensor& rows, Tensor& kept) {
  const int64_t count = targets.elements();
  if (targets.device() == Device::meta) return count;
  const int32_t* target = targets.data<int32_t>();
  int32_t* row = rows.data<int32_t>();
  int32_t* kept_target = kept.data<int32_t>();
  int64_t found = 0;
  for (int64_t index = 0; index < count; ++index) {
    if (target[index] < 0) continue;
    row[found] = static_cast<int32_t>(index);
    kept_target[found++] = target[index];
  }
  return found;
}

void gather_rows(const Tensor& x, const Tensor& rows, Tensor& out) {
  check(out, rows, x, "gather_rows");
  if (out.device() == Device::meta || out.elements() == 0) return;
  const size_t row_bytes = static_cast<size_t>(x.dim(1)) * size_of(x.dtype());
  const auto stride = [](const Tensor& t) { return t.stride(0) * static_cast<int64_t>(size_of(t.dtype())); };
  const int32_t* row = rows.data<int32_t>();
  base::parallel_for(rows.elements(), kRowsPerThread, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      std::memcpy(out.raw() + index * stride(out), x.raw() + row[index] * stride(x), row_bytes);
    }
  });
}

void scatter_rows(const Tensor& x, const Tensor& rows, Tensor& out) {
  check(x, rows, out, "scatter_rows");
  if (out.device() == Device::meta || out.elements() == 0) return;
  const size_t row_bytes = static_cast<size_t>(x.dim(1)) * size_of(x.dtype());
  const auto stride = [](const Tensor& t) { return t.stride(0) * static_cast<int64_t>(size_of(t.dtype())); };
  const int32_t* row = rows.data<int32_t>();
  base::parallel_for(out.dim(0), kRowsPerThread, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) std::memset(out.raw() + index * stride(out), 0, row_bytes);
  });
  base::parallel_for(rows.elements(), kRowsPerThread, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      std::memcpy(out.raw() + row[index] * stride(out), x.raw() + index * stride(x), row_bytes);
    }
  });
}

}  // namespace fledge::tensor
