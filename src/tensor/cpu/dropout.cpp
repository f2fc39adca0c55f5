#include "tensor/cpu/dropout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/dropout.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {

using WordTag = hn::ScalableTag<uint64_t>;
using WordVector = hn::Vec<WordTag>;

/// Philox4x32-10 (see base/random.h) for as many positions as a vector has 64-bit lanes. Every word of the counter
/// stands in the lower half of a lane; MulEven takes the lower halves and gives whole products.
struct Philox {
  WordVector c0, c1, c2, c3;

  HWY_INLINE explicit Philox(WordVector positions)
      : c0(positions), c1(hn::ShiftRight<32>(positions)), c2(hn::Zero(WordTag())), c3(hn::Zero(WordTag())) {}

  HWY_INLINE void round(uint32_t k0, uint32_t k1) {
    const WordTag d;
    const hn::Repartition<uint32_t, WordTag> d32;
    const auto m0 = hn::Set(d32, 0xD2511F53u), m1 = hn::Set(d32, 0xCD9E8D57u);
    const auto p0 = hn::MulEven(hn::BitCast(d32, c0), m0);
    const auto p1 = hn::MulEven(hn::BitCast(d32, c2), m1);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, k0));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, k1));
    c1 = p1;
    c3 = p0;
  }

  /// The four words of every position, in order.
  HWY_INLINE void store(uint32_t* numbers) const {
    const WordTag d;
    const auto low = hn::Set(d, 0xffffffffu);
    const auto first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
    const auto second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
    hn::StoreInterleaved2(first, second, d, reinterpret_cast<uint64_t*>(numbers));
  }
};

/// numbers[4 i + w] = word w of position first + i, for `positions` positions, a multiple of 4 vectors' lanes.
HWY_INLINE void random_numbers(const uint32_t key[2], uint64_t first, size_t positions, uint32_t* numbers) {
  const WordTag d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < positions; i += 4 * lanes) {
    const auto at = [&](size_t group) HWY_ATTR { return hn::Iota(d, first + i + group * lanes); };
    Philox a(at(0)), b(at(1)), c(at(2)), e(at(3));
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      a.round(k0, k1);
      b.round(k0, k1);
      c.round(k0, k1);
      e.round(k0, k1);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    a.store(numbers + 4 * i);
    b.store(numbers + 4 * (i + lanes));
    c.store(numbers + 4 * (i + 2 * lanes));
    e.store(numbers + 4 * (i + 3 * lanes));
  }
}

void dropout(const void* x, DType dtype, const DropoutMask& mask, float factor, void* out, int64_t count) {
  constexpr size_t kPositions = 256;  // a multiple of four vectors of 64-bit lanes on every target
  constexpr size_t kBlock = 4 * kPositions;
  HWY_ALIGN uint32_t numbers[kBlock];
  with_element(dtype, [&](auto element) HWY_ATTR {
    const FloatTag d;
    const hn::Repartition<uint32_t, FloatTag> d32;
    const auto limit = hn::Set(d32, mask.limit);
    const auto scale = hn::Set(d, factor);
    const auto* source = static_cast<const decltype(element)*>(x);
    auto* target = static_cast<decltype(element)*>(out);
    const auto size = static_cast<size_t>(count);
    for (size_t done = 0; done < size;) {
      const uint64_t position = mask.first_element + done;
      const size_t skipped = position % 4;
      random_numbers(mask.key, position / 4, kPositions, numbers);
      const size_t present = HWY_MIN(kBlock - skipped, size - done);
      const auto* words = reinterpret_cast<const float*>(numbers + skipped);
      const auto* block = source + done;
      auto* block_out = target + done;
      for_each_vector(present, [&](auto place) HWY_ATTR {
        const auto kept = hn::Gt(hn::BitCast(d32, place.load_from(words)), limit);
        const auto v = hn::Mul(place.load_from(block), scale);
        place.store_to(block_out, hn::IfThenElseZero(hn::RebindMask(d, kept), v));
      });
      done += present;
    }
  });
}

}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {
namespace {
HWY_EXPORT(dropout);
}  // namespace

void dropout(const void* x, DType dtype, const DropoutMask& mask, float factor, void* out, int64_t count) {
  HWY_DYNAMIC_DISPATCH(dropout)(x, dtype, mask, factor, out, count);
}

}  // namespace fledge::tensor::cpu
#endif
