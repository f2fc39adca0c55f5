#include "tensor/cpu/gemm_epilogue.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/gemm_epilogue.cpp"
#include <hwy/foreach_target.h>
//
#include "tensor/cpu/math-inl.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {
namespace {

/// The element of a matrix that may be absent.
template <typename T, typename Base>
T* element(Base* base, int64_t index) {
  return base == nullptr ? nullptr : static_cast<T*>(base) + index;
}

/// Sums that are only converted: by far the most frequent tile, so without the questions of finish_row.
template <typename Out>
void store_row(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t columns, const float* sums) {
  Out* const out = element<Out>(epilogue.out, row * epilogue.out_stride + column);
  for_each_vector(static_cast<size_t>(columns),
                  [&](auto place) HWY_ATTR { place.store_to(out, place.load_from(sums)); });
}

/// scale * (sum + addend), in place.
template <typename Out>
void change_sums(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t columns, float* sums) {
  Out* const unscaled = element<Out>(epilogue.unscaled, row * epilogue.unscaled_stride + column);
  const float* const addend = element<const float>(epilogue.addend, row * epilogue.addend_stride + column);
  const float* const scale = element<const float>(epilogue.scale, row * epilogue.scale_stride + column);
  for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
    FloatVector value = place.load_from(sums);
    if (addend != nullptr) value = hn::Add(value, place.load_from(addend));
    if (unscaled != nullptr) place.store_to(unscaled, value);
    if (scale != nullptr) value = hn::Mul(value, place.load_from(scale));
    place.store_to(sums, value);
  });
}

template <typename Out>
void finish_row(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t columns, const float* sums) {
  const FloatTag d;
  Out* const out = element<Out>(epilogue.out, row * epilogue.out_stride + column);
  Out* const preactivation = element<Out>(epilogue.preactivation, row * epilogue.preactivation_stride + column);
  const float* const residual = element<const float>(epilogue.residual, row * epilogue.residual_stride + column);
  const float* const bias = element<const float>(epilogue.bias, column);
  for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
    FloatVector value = place.load_from(sums);
    if (epilogue.accumulate) value = hn::Add(place.load_from(out), value);
    if (bias != nullptr) value = hn::Add(value, place.load_from(bias));
    if (preactivation != nullptr) place.store_to(preactivation, value);
    if (epilogue.activation == Activation::gelu_exact) value = gelu_exact(d, value);
    if (epilogue.activation == Activation::gelu_tanh) value = gelu_tanh(d, value);
    if (residual != nullptr) value = hn::Add(place.load_from(residual), value);
    place.store_to(out, value);
  });
}

template <typename Out>
void finish_rows(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t rows, int64_t columns, float* sums,
                 int64_t sums_stride) {
  if (epilogue.changes_sums()) {
    for (int64_t r = 0; r < rows; ++r) change_sums<Out>(epilogue, row + r, column, columns, sums + r * sums_stride);
  }
  const auto finish = epilogue.only_converts() ? store_row<Out> : finish_row<Out>;
  for (int64_t r = 0; r < rows; ++r) finish(epilogue, row + r, column, columns, sums + r * sums_stride);
}

/// Replaces the sums of a tile by what `change` makes of each vector, given its row and column of the output.
template <class Change>
HWY_INLINE void change_tile(int64_t row, int64_t column, int64_t rows, int64_t columns, float* sums,
                            int64_t sums_stride, const Change& change) {
  for (int64_t r = 0; r < rows; ++r) {
    float* const tile_row = sums + r * sums_stride;
    for_each_vector(static_cast<size_t>(columns), [&](auto place) HWY_ATTR {
      place.store_to(tile_row, change(place, row + r, column, place.load_from(tile_row)));
    });
  }
}

/// finish_rows<bf16> for a kernel that has its own way to store: the sums are changed where they are, which is the L1
/// cache, and stored at the end.
void finish_rows_with(StoreBf16Function* store_bf16, const TileEpilogue& epilogue, int64_t row, int64_t column,
                      int64_t rows, int64_t columns, float* sums, int64_t sums_stride) {
  const auto store = [&](void* matrix, int64_t stride) HWY_ATTR {
    store_bf16(sums, sums_stride, rows, columns, element<bf16>(matrix, row * stride + column), stride);
  };
  const auto change = [&](const auto& how)
                          HWY_ATTR { change_tile(row, column, rows, columns, sums, sums_stride, how); };
  if (epilogue.changes_sums()) {
    for (int64_t r = 0; r < rows; ++r) change_sums<bf16>(epilogue, row + r, column, columns, sums + r * sums_stride);
  }
  if (epilogue.accumulate) {
    change([&](auto place, int64_t r, int64_t c, FloatVector value) HWY_ATTR {
      return hn::Add(place.load_from(element<bf16>(epilogue.out, r * epilogue.out_stride + c)), value);
    });
  }
  if (epilogue.bias != nullptr) {
    change([&](auto place, int64_t, int64_t c, FloatVector value)
               HWY_ATTR { return hn::Add(value, place.load_from(epilogue.bias + c)); });
  }
  if (epilogue.preactivation != nullptr) store(epilogue.preactivation, epilogue.preactivation_stride);
  if (epilogue.activation == Activation::gelu_exact) {
    change([](auto, int64_t, int64_t, FloatVector value) HWY_ATTR { return gelu_exact(FloatTag(), value); });
  } else if (epilogue.activation == Activation::gelu_tanh) {
    change([](auto, int64_t, int64_t, FloatVector value) HWY_ATTR { return gelu_tanh(FloatTag(), value); });
  }
  if (epilogue.residual != nullptr) {
    change([&](auto place, int64_t r, int64_t c, FloatVector value) HWY_ATTR {
      return hn::Add(place.load_from(epilogue.residual + r * epilogue.residual_stride + c), value);
    });
  }
  store(epilogue.out, epilogue.out_stride);
}

}  // namespace

void finish_tile(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t rows, int64_t columns, float* sums,
                 int64_t sums_stride) {
  if (epilogue.out_dtype == DType::bf16 && epilogue.store_bf16 != nullptr) {
    finish_rows_with(epilogue.store_bf16, epilogue, row, column, rows, columns, sums, sums_stride);
  } else if (epilogue.out_dtype == DType::bf16) {
    finish_rows<bf16>(epilogue, row, column, rows, columns, sums, sums_stride);
  } else {
    finish_rows<float>(epilogue, row, column, rows, columns, sums, sums_stride);
  }
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
HWY_EXPORT(finish_tile);

void finish_tile(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t rows, int64_t columns, float* sums,
                 int64_t sums_stride) {
  HWY_DYNAMIC_DISPATCH(finish_tile)(epilogue, row, column, rows, columns, sums, sums_stride);
}
}  // namespace fledge::tensor::cpu
#endif
