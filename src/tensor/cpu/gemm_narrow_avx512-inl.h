#pragma once

#include "tensor/cpu/gemm_functions.h"
#include "tensor/cpu/gemm_multiply-inl.h"
#include "tensor/cpu/gemm_narrow-inl.h"
#include "tensor/cpu/gemm_pack_avx512-inl.h"

// Narrow panels, see narrow_panels.h: bf16 values as a byte of sign and fraction and half a byte that says how far the
// exponent lies below the largest of its column. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

inline __m512i bytes(int value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}

inline __m512i shift_left(__m512i value, unsigned count) {
  return _mm512_maskz_slli_epi16(0xffffffffu, value, count);
}

inline __m512i shift_right(__m512i value, unsigned count) {
  return _mm512_maskz_srli_epi16(0xffffffffu, value, count);
}

/// Bits of `a` where the mask has ones, of `b` elsewhere.
inline __m512i choose(__m512i mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

/// 64 values taken apart. The order of bytes is that of the instructions: in each quarter of 16 bytes the first 8
/// belong to columns 0 to 15, the others to columns 16 to 31.
struct Fields {
  __m512i sign_fraction, exponent;
};

inline Fields take_apart(const uint16_t* values) {
  const __m512i first = _mm512_loadu_si512(values), second = _mm512_loadu_si512(values + 32);
  const __m512i mask = _mm512_set1_epi16(0xff);
  const __m512i low = _mm512_packus_epi16(_mm512_and_si512(first, mask), _mm512_and_si512(second, mask));
  const __m512i high = _mm512_packus_epi16(shift_right(first, 8), shift_right(second, 8));
  return {choose(bytes(0x80), high, low),
          choose(bytes(0xfe), shift_left(high, 1), _mm512_and_si512(shift_right(low, 7), bytes(1)))};
}

/// 64 values: two vectors as a panel of B has them.
struct Values {
  __m512i first, second;
};

inline Values put_together(__m512i sign_fraction, __m512i exponent) {
  const __m512i high = choose(bytes(0x80), sign_fraction, shift_right(exponent, 1));
  const __m512i low = choose(bytes(0x7f), sign_fraction, shift_left(exponent, 7));
  return {_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)};
}

inline void find_bases(const void* panel, int64_t pairs, uint8_t* bases) {
  const auto* values = static_cast<const uint16_t*>(panel);
  __m512i largest = _mm512_setzero_si512();
  for (int64_t pair = 0; pair < pairs; ++pair) {
    largest = _mm512_max_epu8(largest, take_apart(values + pair * kNarrowPairElements).exponent);
  }
  // Both neighbours in depth are of one column.
  const __m512i swapped = _mm512_or_si512(shift_left(largest, 8), shift_right(largest, 8));
  _mm512_storeu_si512(bases, _mm512_max_epu8(largest, swapped));
}

/// The distances of 64 exponents from their bases. False where there is no room for what 4 bits cannot say.
inline bool narrow_pair(const Fields& fields, __m512i bases, const uint16_t* values, int64_t pair, __m512i& distances,
                        ExceptionList& exceptions) {
  const __m512i far = _mm512_sub_epi8(bases, fields.exponent);
  distances = _mm512_min_epu8(far, bytes(15));
  const uint64_t exceptional =
      _mm512_cmpge_epu8_mask(far, bytes(15)) & _mm512_test_epi8_mask(fields.exponent, fields.exponent);
  return exceptions.add(exceptional, values, pair);
}

inline int64_t narrow_panel(const void* panel, int64_t pairs, const uint8_t* bases, void* narrow,
                            NarrowException* exceptions, int64_t most) {
  const auto* values = static_cast<const uint16_t*>(panel);
  auto* unit = static_cast<uint8_t*>(narrow);
  const __m512i base = _mm512_loadu_si512(bases);
  ExceptionList list{exceptions, 0, most};
  for (int64_t pair = 0; pair < pairs; pair += 2, values += 2 * kNarrowPairElements, unit += kNarrowUnitBytes) {
    const Fields first = take_apart(values);
    Fields second{_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512i low, high = _mm512_setzero_si512();
    if (!narrow_pair(first, base, values, pair, low, list)) return -1;
    if (pair + 1 < pairs) {
      second = take_apart(values + kNarrowPairElements);
      if (!narrow_pair(second, base, values + kNarrowPairElements, pair + 1, high, list)) return -1;
    }
    _mm512_storeu_si512(unit, _mm512_or_si512(low, shift_left(high, 4)));
    _mm512_storeu_si512(unit + 64, first.sign_fraction);
    _mm512_storeu_si512(unit + 128, second.sign_fraction);
  }
  return list.count;
}

/// Two pairs of depth.
struct Unit {
  Values even, odd;
};

/// Reads a narrow panel unit by unit.
class NarrowReader {
 public:
  explicit NarrowReader(const NarrowSource& source)
      : bases_(_mm512_loadu_si512(source.bases)),
        unit_(source.units),
        exception_(source.exceptions),
        end_(source.end),
        element_(source.first_element) {}

  /// How many units come before the next one with exceptions.
  int64_t plain_units() const {
    return exception_ == end_ ? INT64_MAX : (exception_->element - element_) / kUnitElements;
  }

  Unit next() {
#pragma GCC unroll 3
    for (int line = 0; line < kNarrowUnitBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(unit_) + kNarrowPrefetchBytes + line, _MM_HINT_T0);
    }
    const __m512i both = _mm512_loadu_si512(unit_);
    const Unit unit{put_together(_mm512_loadu_si512(unit_ + 64), exponents(both)),
                    put_together(_mm512_loadu_si512(unit_ + 128), exponents(shift_right(both, 4)))};
    unit_ += kNarrowUnitBytes;
    element_ += kUnitElements;
    return unit;
  }

  Unit next_with_exceptions() {
    alignas(64) uint16_t values[kUnitElements];
    Unit unit = next();
    static_assert(sizeof values == sizeof unit);
    memcpy(values, &unit, sizeof values);
    for (; exception_ != end_ && exception_->element < element_; ++exception_) {
      values[exception_->element + kUnitElements - element_] = static_cast<uint16_t>(exception_->value);
    }
    memcpy(&unit, values, sizeof values);
    return unit;
  }

 private:
  static constexpr uint32_t kUnitElements = 2 * kNarrowPairElements;

  __m512i exponents(__m512i nibbles) const {
    // A distance of 15 means an exponent of 0: subtraction stops there.
    const __m512i distances =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -1));
    return _mm512_subs_epu8(bases_, _mm512_shuffle_epi8(distances, _mm512_and_si512(nibbles, bytes(15))));
  }

  __m512i bases_;
  const uint8_t* unit_;
  const NarrowException *exception_, *end_;
  uint32_t element_;
};

/// Calls use(values) for each pair of depth.
template <class Use>
__attribute__((always_inline)) inline void read_pairs(const NarrowSource& source, int64_t pairs, const Use& use) {
  NarrowReader reader(source);
  for (int64_t left = pairs / 2; left > 0;) {
    const int64_t run = reader.plain_units() < left ? reader.plain_units() : left;
    for (int64_t i = 0; i < run; ++i) {
      const Unit unit = reader.next();
      use(unit.even);
      use(unit.odd);
    }
    left -= run;
    if (left == 0) break;
    const Unit unit = reader.next_with_exceptions();
    use(unit.even);
    use(unit.odd);
    --left;
  }
  if (pairs % 2 != 0) use(reader.next_with_exceptions().even);
}

inline void widen_panel(const NarrowSource& narrow, int64_t pairs, void* panel) {
  auto* values = static_cast<uint16_t*>(panel);
  read_pairs(
      narrow, pairs, [&](const Values& pair) __attribute__((always_inline)) {
        _mm512_storeu_si512(values, pair.first);
        _mm512_storeu_si512(values + 32, pair.second);
        values += kNarrowPairElements;
      });
}

/// The product of a few rows with a narrow panel, whose values never leave the registers.
template <class Simd, int kRows>
void multiply_narrow_rows(int64_t pairs, const float* a, const NarrowSource& b, float* c, int64_t c_stride,
                          int64_t used_columns, bool accumulate) {
  typename Simd::Vector sums[kRows][2];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) sums[row][0] = sums[row][1] = Simd::zero();
  read_pairs(
      b, pairs, [&](const Values& pair) __attribute__((always_inline)) {
        const auto first = reinterpret_cast<typename Simd::Vector>(pair.first);
        const auto second = reinterpret_cast<typename Simd::Vector>(pair.second);
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
          const typename Simd::Vector left = Simd::broadcast(a + row);
          sums[row][0] = Simd::multiply_add(left, first, sums[row][0]);
          sums[row][1] = Simd::multiply_add(left, second, sums[row][1]);
        }
        a += kRows;
      });
  deliver_sums<Simd, kRows, 2>(sums, c, c_stride, used_columns, accumulate);
}

template <class Simd, int kRows>
void multiply_narrow_panel(int64_t pairs, const float* a, const NarrowSource& b, float* c, int64_t c_stride,
                           int64_t used_rows, int64_t used_columns, bool accumulate) {
  if (used_rows >= kRows) {
    multiply_narrow_rows<Simd, kRows>(pairs, a, b, c, c_stride, used_columns, accumulate);
  } else if constexpr (kRows > 1) {
    multiply_narrow_panel<Simd, kRows - 1>(pairs, a, b, c, c_stride, used_rows, used_columns, accumulate);
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu
