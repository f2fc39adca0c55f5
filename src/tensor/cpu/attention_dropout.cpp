#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention_dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "tensor/cpu/attention_tile.h"
#include "tensor/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fledge::tensor::cpu::HWY_NAMESPACE {
namespace {

using WordTag = hn::RebindToUnsigned<FloatTag>;
using WideTag = hn::Repartition<uint64_t, FloatTag>;
using WideVector = hn::Vec<WideTag>;

/// Philox4x32-10 (base::Random::block) of one counter per 64-bit lane. Only the lower halves of `counter` count, as
/// they alone enter a product.
HWY_INLINE void philox(const KeepRows& keep, WideVector counter[4]) {
  const WideTag d;
  const WordTag words;
  const auto multiply = [&](WideVector value, uint64_t factor) HWY_ATTR {
    return hn::MulEven(hn::BitCast(words, value), hn::BitCast(words, hn::Set(d, factor)));
  };
  uint32_t key0 = keep.random_key[0], key1 = keep.random_key[1];
  for (int round = 0; round < 10; ++round) {
    const WideVector p0 = multiply(counter[0], 0xD2511F53u), p1 = multiply(counter[2], 0xCD9E8D57u);
    counter[0] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), counter[1]), hn::Set(d, uint64_t{key0}));
    counter[1] = p1;
    counter[2] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), counter[3]), hn::Set(d, uint64_t{key1}));
    counter[3] = p0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

void keep_rows(const KeepRows& keep) {
  const FloatTag d;
  const WideTag wide;
  const WordTag words;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto threshold = hn::Set(words, keep.threshold);
  for (int64_t column = 0; column < keep.columns; column += lanes) {
    WideVector halves[2][4];
    for (int64_t half = 0; half < 2; ++half) {
      WideVector* counter = halves[half];
      counter[0] = hn::Set(wide, uint64_t{keep.key_group});
      counter[1] = hn::Iota(wide, uint64_t{keep.position} + static_cast<uint64_t>(column + half * lanes / 2));
      counter[2] = hn::Set(wide, keep.row_number & 0xffffffffu);
      counter[3] = hn::Set(wide, keep.row_number >> 32);
      philox(keep, counter);
    }
    for (int i = 0; i < 4; ++i) {
      if (keep.rows[i] == nullptr) continue;
      const auto numbers = hn::ConcatEven(words, hn::BitCast(words, halves[1][i]), hn::BitCast(words, halves[0][i]));
      const auto stays = hn::RebindMask(d, hn::Eq(hn::Min(numbers, threshold), threshold));
      hn::StoreU(hn::IfThenElseZero(stays, hn::Set(d, keep.kept)), d, keep.rows[i] + column);
    }
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fledge::tensor::cpu {

HWY_EXPORT(keep_rows);

void keep_rows(const KeepRows& keep) {
  HWY_DYNAMIC_DISPATCH(keep_rows)(keep);
}

}  // namespace fledge::tensor::cpu
#endif
