#pragma once

#include <string.h>

#include "tensor/cpu/gemm_narrow-inl.h"
#include "tensor/cpu/gemm_pairs_avx2-inl.h"

// Narrow panels (see narrow_panels.h) with AVX2, laid out as with AVX-512: the 64 bytes of a pair of depth are two
// vectors. In each quarter of 16 bytes the first 8 belong to columns 0 to 15, the others to columns 16 to 31, so the
// first vector takes the first half of either. Everything has internal linkage.
namespace fledge::tensor::cpu::avx2 {
namespace {

constexpr int kVectorBytes = 32;

inline __m256i load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

inline void store(void* to, __m256i value) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), value);
}

/// The bits of `a` that the bytes of the constant `bits` have, of `b` elsewhere.
inline __m256i choose(int bits, __m256i a, __m256i b) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(bits));
  return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}

/// 32 values taken apart.
struct Fields {
  __m256i sign_fraction, exponent;
};

/// `half`: which vector of a pair's 64 values.
inline Fields take_apart(const uint16_t* values, int half) {
  const __m256i first = load(values + half * 16), second = load(values + 32 + half * 16);
  const __m256i mask = _mm256_set1_epi16(0xff);
  const __m256i low = _mm256_packus_epi16(_mm256_and_si256(first, mask), _mm256_and_si256(second, mask));
  const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(first, 8), _mm256_srli_epi16(second, 8));
  const __m256i last_bit = _mm256_and_si256(_mm256_srli_epi16(low, 7), _mm256_set1_epi8(1));
  return {choose(0x80, high, low), choose(0xfe, _mm256_slli_epi16(high, 1), last_bit)};
}

/// 32 values of a pair: two vectors of words as a panel of B has them.
struct Words32 {
  Vector first, second;
};

inline Words32 put_together(__m256i sign_fraction, __m256i exponent) {
  const __m256i high = choose(0x80, sign_fraction, _mm256_srli_epi16(exponent, 1));
  const __m256i low = choose(0x7f, sign_fraction, _mm256_slli_epi16(exponent, 7));
  return {_mm256_castsi256_ps(_mm256_unpacklo_epi8(low, high)), _mm256_castsi256_ps(_mm256_unpackhi_epi8(low, high))};
}

inline void find_narrow_bases(const void* panel, int64_t pairs, uint8_t* bases) {
  const auto* values = static_cast<const uint16_t*>(panel);
  for (int half = 0; half < 2; ++half) {
    __m256i largest = _mm256_setzero_si256();
    for (int64_t pair = 0; pair < pairs; ++pair) {
      largest = _mm256_max_epu8(largest, take_apart(values + pair * kNarrowPairElements, half).exponent);
    }
    // Both neighbours in depth are of one column.
    const __m256i swapped = _mm256_or_si256(_mm256_slli_epi16(largest, 8), _mm256_srli_epi16(largest, 8));
    store(bases + half * kVectorBytes, _mm256_max_epu8(largest, swapped));
  }
}

/// The distances of the exponents of half a pair from their bases. Adds the bits of bytes whose distance 4 bits cannot
/// say.
inline __m256i narrow_half(const Fields& fields, __m256i bases, int half, uint64_t& exceptions) {
  const __m256i far = _mm256_sub_epi8(bases, fields.exponent), most = _mm256_set1_epi8(15);
  const __m256i too_far = _mm256_cmpeq_epi8(_mm256_max_epu8(far, most), far);
  const __m256i zero = _mm256_cmpeq_epi8(fields.exponent, _mm256_setzero_si256());
  const auto bits = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_andnot_si256(zero, too_far)));
  exceptions |= uint64_t{bits} << (half * kVectorBytes);
  return _mm256_min_epu8(far, most);
}

/// Writes a pair's signs and fractions, and its distances where `shift` is 0, or adds them to the upper half bytes.
/// False where there is no room for the exceptions.
inline bool narrow_pair(const uint16_t* values, int64_t pair, const uint8_t* bases, int shift, uint8_t* distances,
                        uint8_t* sign_fractions, ExceptionList& list) {
  uint64_t exceptional = 0;
  for (int half = 0; half < 2; ++half) {
    const int at = half * kVectorBytes;
    const Fields fields = take_apart(values, half);
    __m256i own = narrow_half(fields, load(bases + at), half, exceptional);
    if (shift != 0) own = _mm256_or_si256(load(distances + at), _mm256_slli_epi16(own, 4));
    store(distances + at, own);
    store(sign_fractions + at, fields.sign_fraction);
  }
  return list.add(exceptional, values, pair);
}

inline int64_t narrow_panel(const void* panel, int64_t pairs, const uint8_t* bases, void* narrow,
                            NarrowException* exceptions, int64_t most) {
  const auto* values = static_cast<const uint16_t*>(panel);
  auto* unit = static_cast<uint8_t*>(narrow);
  ExceptionList list{exceptions, 0, most};
  for (int64_t pair = 0; pair < pairs; ++pair, values += kNarrowPairElements) {
    const int64_t odd = pair % 2;
    if (odd == 0) memset(unit + 128, 0, 64);
    if (!narrow_pair(values, pair, bases, odd == 0 ? 0 : 4, unit, unit + 64 + 64 * odd, list)) return -1;
    if (odd == 1) unit += kNarrowUnitBytes;
  }
  return list.count;
}

/// Reads a narrow panel unit by unit, each two pairs of depth.
class NarrowReader {
 public:
  explicit NarrowReader(const NarrowSource& source)
      : bases_{load(source.bases), load(source.bases + kVectorBytes)},
        unit_(source.units),
        exception_(source.exceptions),
        end_(source.end),
        element_(source.first_element) {}

  /// How many units come before the next one with exceptions.
  int64_t plain_units() const {
    return exception_ == end_ ? INT64_MAX : (exception_->element - element_) / kUnitElements;
  }

  void prefetch() const {
#pragma GCC unroll 3
    for (int line = 0; line < kNarrowUnitBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(unit_) + kNarrowPrefetchBytes + line, _MM_HINT_T0);
    }
  }

  /// One half of a pair (0 or 1) of the unit.
  template <int pair, int half>
  Words32 words() const {
    constexpr int kAt = half * kVectorBytes;
    __m256i nibbles = load(unit_ + kAt);
    if constexpr (pair == 1) nibbles = _mm256_srli_epi16(nibbles, 4);
    nibbles = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
    // A distance of 15 means an exponent of 0: subtraction stops there.
    const __m256i distances =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -1));
    return put_together(load(unit_ + 64 + pair * 64 + kAt),
                        _mm256_subs_epu8(bases_[half], _mm256_shuffle_epi8(distances, nibbles)));
  }

  void pass() {
    unit_ += kNarrowUnitBytes;
    element_ += kUnitElements;
  }

  /// All values of the unit, with its exceptions in their places, as a panel of B has them; passes it.
  void unpack(uint16_t* values) {
    store_pair<0>(values);
    store_pair<1>(values + kNarrowPairElements);
    pass();
    for (; exception_ != end_ && exception_->element < element_; ++exception_) {
      values[exception_->element + kUnitElements - element_] = static_cast<uint16_t>(exception_->value);
    }
  }

  static constexpr uint32_t kUnitElements = 2 * kNarrowPairElements;

 private:
  template <int pair>
  void store_pair(uint16_t* values) const {
    const Words32 low = words<pair, 0>(), high = words<pair, 1>();
    store(values, _mm256_castps_si256(low.first));
    store(values + 16, _mm256_castps_si256(high.first));
    store(values + 32, _mm256_castps_si256(low.second));
    store(values + 48, _mm256_castps_si256(high.second));
  }

  __m256i bases_[2];
  const uint8_t* unit_;
  const NarrowException *exception_, *end_;
  uint32_t element_;
};

inline void widen_panel(const NarrowSource& narrow, int64_t pairs, void* panel) {
  auto* values = static_cast<uint16_t*>(panel);
  NarrowReader reader(narrow);
  for (int64_t unit = 0; unit < pairs / 2; ++unit, values += NarrowReader::kUnitElements) {
    reader.prefetch();
    reader.unpack(values);
  }
  if (pairs % 2 == 0) return;
  uint16_t last[NarrowReader::kUnitElements];
  reader.unpack(last);
  memcpy(values, last, kNarrowPairElements * sizeof *last);
}

/// The product of a few rows with a narrow panel, whose values never leave the registers.
template <int kRows>
class NarrowProduct {
 public:
  NarrowProduct() {
    for (auto& row : sums_) {
      for (auto& sum : row) sum = Simd::zero();
    }
  }

  void add(const NarrowSource& b, int64_t pairs, const float* a) {
    NarrowReader reader(b);
    for (int64_t left = pairs / 2; left > 0; --left) {
      const int64_t run = reader.plain_units() < left ? reader.plain_units() : left;
      for (int64_t i = 0; i < run; ++i, a += 4 * kRows) {
        reader.prefetch();
        add_half<0>(reader.words<0, 0>(), a);
        add_half<1>(reader.words<0, 1>(), a);
        add_half<0>(reader.words<1, 0>(), a + 2 * kRows);
        add_half<1>(reader.words<1, 1>(), a + 2 * kRows);
        reader.pass();
      }
      left -= run;
      if (left == 0) break;
      add_unit(reader, 2, a);
      a += 4 * kRows;
    }
    if (pairs % 2 != 0) add_unit(reader, 1, a);
  }

  void deliver(float* c, int64_t c_stride, int64_t used_columns, bool accumulate) {
    deliver_sums<Simd, kRows, kPairVectors>(sums_, c, c_stride, used_columns, accumulate);
  }

 private:
  /// A unit with exceptions, or the first pair of the last unit alone.
  void add_unit(NarrowReader& reader, int pairs, const float* a) {
    alignas(32) uint16_t values[NarrowReader::kUnitElements];
    reader.unpack(values);
    for (int pair = 0; pair < pairs; ++pair, a += 2 * kRows) {
      const auto* words = reinterpret_cast<const float*>(values + pair * kNarrowPairElements);
      add_half<0>({Simd::load(words), Simd::load(words + 16)}, a);
      add_half<1>({Simd::load(words + 8), Simd::load(words + 24)}, a);
    }
  }

  /// A pair's words of columns 8 half to 8 half + 7 and of those 16 further.
  template <int half>
  __attribute__((always_inline)) void add_half(const Words32& words, const float* a) {
    const Vector lower[2] = {lower_half(words.first), lower_half(words.second)};
    const Vector upper[2] = {upper_half(words.first), upper_half(words.second)};
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
      const Vector even = Simd::broadcast(a + row), odd = Simd::broadcast(a + kRows + row);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        Vector& sum = sums_[row][half + 2 * i];
        sum = Simd::multiply_add(odd, upper[i], Simd::multiply_add(even, lower[i], sum));
      }
    }
  }

  Vector sums_[kRows][kPairVectors];
};

template <int kRows>
void multiply_narrow_panel(int64_t pairs, const float* a, const NarrowSource& b, float* c, int64_t c_stride,
                           int64_t used_rows, int64_t used_columns, bool accumulate) {
  if (used_rows >= kRows) {
    NarrowProduct<kRows> product;
    product.add(b, pairs, a);
    product.deliver(c, c_stride, used_columns, accumulate);
  } else if constexpr (kRows > 1) {
    multiply_narrow_panel<kRows - 1>(pairs, a, b, c, c_stride, used_rows, used_columns, accumulate);
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu::avx2
