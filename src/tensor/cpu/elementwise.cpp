#include "tensor/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

/// binary16 to binary32 by moving the fields: Highway 1.0.3 loses infinities and NaNs where there is no F16C.
HWY_INLINE FloatVector widen_f16(const uint16_t* bits) {
  const FloatTag d;
  const hn::Rebind<uint16_t, FloatTag> half;
  const hn::Repartition<uint32_t, FloatTag> wide;
  const auto word = hn::PromoteTo(wide, hn::LoadU(half, bits));
  const auto magnitude = hn::And(word, hn::Set(wide, 0x7fffu));
  const auto sign = hn::ShiftLeft<16>(hn::Sub(word, magnitude));
  // The exponent's bias grows from 15 to 127; a product does it for subnormal numbers too.
  const auto scaled = hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 0x1p112f));
  const auto special = hn::IfThenElseZero(hn::Gt(magnitude, hn::Set(wide, 0x7bffu)), hn::Set(wide, 0x7f800000u));
  return hn::BitCast(d, hn::Or(hn::Or(hn::BitCast(wide, scaled), special), sign));
}

void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  const auto size = static_cast<size_t>(count);
  with_element(to_dtype, [&](auto to_element) HWY_ATTR {
    auto* target = static_cast<decltype(to_element)*>(to);
    if (from_dtype == DType::f16) {
      const auto* source = static_cast<const uint16_t*>(from);
      const size_t lanes = hn::Lanes(FloatTag());
      for (size_t at = 0; at < size; at += lanes) {
        HWY_ALIGN uint16_t bits[hn::MaxLanes(FloatTag())] = {};
        const size_t present = HWY_MIN(lanes, size - at);
        std::memcpy(bits, source + at, present * sizeof(uint16_t));
        store_part(widen_f16(bits), FloatTag(), target + at, present);
      }
    } else {
      with_element(from_dtype, [&](auto from_element) HWY_ATTR {
        const auto* source = static_cast<const decltype(from_element)*>(from);
        for_each_vector(size, [&](auto place) HWY_ATTR { place.store_to(target, place.load_from(source)); });
      });
    }
  });
}

void scale(void* data, DType dtype, float factor, int64_t count) {
  with_element(dtype, [&](auto element) HWY_ATTR {
    auto* values = static_cast<decltype(element)*>(data);
    const auto f = hn::Set(FloatTag(), factor);
    for_each_vector(static_cast<size_t>(count),
                    [&](auto place) HWY_ATTR { place.store_to(values, hn::Mul(place.load_from(values), f)); });
  });
}

void add(const void* a, DType a_dtype, const void* b, DType b_dtype, void* out, DType out_dtype, int64_t count) {
  with_element(a_dtype, [&](auto a_element) HWY_ATTR {
    with_element(b_dtype, [&](auto b_element) HWY_ATTR {
      with_element(out_dtype, [&](auto out_element) HWY_ATTR {
        const auto* left = static_cast<const decltype(a_element)*>(a);
        const auto* right = static_cast<const decltype(b_element)*>(b);
        auto* target = static_cast<decltype(out_element)*>(out);
        for_each_vector(static_cast<size_t>(count), [&](auto place) HWY_ATTR {
          place.store_to(target, hn::Add(place.load_from(left), place.load_from(right)));
        });
      });
    });
  });
}

double sum_of_squares(const void* data, DType dtype, int64_t count) {
  const hn::ScalableTag<double> wide;
  const hn::Half<FloatTag> half;
  double total = 0;
  with_element(dtype, [&](auto element) HWY_ATTR {
    const auto* values = static_cast<const decltype(element)*>(data);
    auto lower_sum = hn::Zero(wide), upper_sum = hn::Zero(wide);
    for_each_vector(static_cast<size_t>(count), [&](auto place) HWY_ATTR {
      const auto v = place.load_from(values);
      const auto lower = hn::PromoteTo(wide, hn::LowerHalf(half, v));
      const auto upper = hn::PromoteTo(wide, hn::UpperHalf(half, v));
      lower_sum = hn::MulAdd(lower, lower, lower_sum);
      upper_sum = hn::MulAdd(upper, upper, upper_sum);
    });
    total = hn::GetLane(hn::SumOfLanes(wide, hn::Add(lower_sum, upper_sum)));
  });
  return total;
}

bool all_finite(const void* data, DType dtype, int64_t count) {
  bool finite = true;
  with_element(dtype, [&](auto element) HWY_ATTR {
    const FloatTag d;
    const auto* values = static_cast<const decltype(element)*>(data);
    // x - x is 0 for a finite x and a NaN for the others; NaNs survive the sum.
    auto sum = hn::Zero(d);
    for_each_vector(static_cast<size_t>(count), [&](auto place) HWY_ATTR {
      const auto v = place.load_from(values);
      sum = hn::Add(sum, hn::Sub(v, v));
    });
    finite = hn::AllTrue(d, hn::Eq(sum, hn::Zero(d)));
  });
  return finite;
}

void column_sums(const void* x, DType dtype, int64_t rows, int64_t columns, float* sums) {
  with_element(dtype, [&](auto element) HWY_ATTR {
    const auto* values = static_cast<const decltype(element)*>(x);
    const auto width = static_cast<size_t>(columns);
    std::memset(sums, 0, width * sizeof(float));
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4) {
      const auto* first = values + row * columns;
      for_each_vector(width, [&](auto place) HWY_ATTR {
        auto sum = place.load_from(sums);
        for (int64_t next = 0; next < 4; ++next) sum = hn::Add(sum, place.load_from(first + next * columns));
        place.store_to(sums, sum);
      });
    }
    for (; row < rows; ++row) {
      const auto* first = values + row * columns;
      for_each_vector(width, [&](auto place) HWY_ATTR {
        place.store_to(sums, hn::Add(place.load_from(sums), place.load_from(first)));
      });
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(convert);
HWY_EXPORT(scale);
HWY_EXPORT(add);
HWY_EXPORT(sum_of_squares);
HWY_EXPORT(all_finite);
HWY_EXPORT(column_sums);
}  // namespace

void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  HWY_DYNAMIC_DISPATCH(convert)(from, from_dtype, to, to_dtype, count);
}

void scale(void* data, DType dtype, float factor, int64_t count) {
  HWY_DYNAMIC_DISPATCH(scale)(data, dtype, factor, count);
}

void add(const void* a, DType a_dtype, const void* b, DType b_dtype, void* out, DType out_dtype, int64_t count) {
  HWY_DYNAMIC_DISPATCH(add)(a, a_dtype, b, b_dtype, out, out_dtype, count);
}

double sum_of_squares(const void* data, DType dtype, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(sum_of_squares)(data, dtype, count);
}

bool all_finite(const void* data, DType dtype, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(all_finite)(data, dtype, count);
}

void column_sums(const void* x, DType dtype, int64_t rows, int64_t columns, float* sums) {
  HWY_DYNAMIC_DISPATCH(column_sums)(x, dtype, rows, columns, sums);
}

}  // namespace fledge::tensor::cpu
#endif
