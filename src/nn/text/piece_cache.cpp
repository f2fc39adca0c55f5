#include "nn/text/piece_cache.h"

#include <algorithm>
#include <utility>

#include "nn/text/vocabulary.h"

namespace fledge::nn {
namespace {

constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint64_t low_bytes(size_t count) {
  return count == 0 ? 0 : kAll >> (64 - 8 * count);
}

}  // namespace

#define FLEDGE_ROW(n) \
  { low_bytes((n) < 8 ? (n) : 8), low_bytes((n) < 8 ? 0 : (n)-8) }
const uint64_t PieceCache::kMasks[16][2] = {FLEDGE_ROW(0),  FLEDGE_ROW(1),  FLEDGE_ROW(2),  FLEDGE_ROW(3),
                                            FLEDGE_ROW(4),  FLEDGE_ROW(5),  FLEDGE_ROW(6),  FLEDGE_ROW(7),
                                            FLEDGE_ROW(8),  FLEDGE_ROW(9),  FLEDGE_ROW(10), FLEDGE_ROW(11),
                                            FLEDGE_ROW(12), FLEDGE_ROW(13), FLEDGE_ROW(14), FLEDGE_ROW(15)};
#undef FLEDGE_ROW

PieceCache::PieceCache() {
  slots_.resize(kFirstSlots);
  mask_ = kFirstSlots - kBucket;
}

PieceCache::Key PieceCache::long_key(std::string_view piece) {
  const uint64_t low = hash_bytes(piece);
  const uint64_t high = hash_bytes(piece.substr(piece.size() / 2)) ^ piece.size();
  return {low, (high & kAll >> 8) | uint64_t{0xFF} << 56};
}

size_t PieceCache::find_in_arena(const Slot& slot, std::string_view piece, int32_t* ids) const {
  const int32_t* entry = arena_.data() + slot.ids[0];
  if (piece.size() > kInlineBytes) {
    // Equal hashes are not equal bytes: the bytes decide.
    const size_t length = static_cast<size_t>(slot.ids[1]);
    if (length != piece.size() || std::memcmp(entry + slot.count, piece.data(), length) != 0) return 0;
  }
  std::memcpy(ids, entry, slot.count * sizeof(int32_t));
  return slot.count;
}

void PieceCache::insert(const Key& key, uint64_t hash, std::string_view piece, std::span<const int32_t> ids) {
  if (2 * used_ > slots_.size() && slots_.size() < kMostSlots) grow();
  Slot added{key, static_cast<uint32_t>(ids.size()), {0, 0, 0}};
  if (ids.size() <= kInlineIds && piece.size() <= kInlineBytes) {
    std::copy(ids.begin(), ids.end(), added.ids);
  } else {
    const size_t byte_words = piece.size() > kInlineBytes ? (piece.size() + 3) / 4 : 0;
    if (arena_.size() + ids.size() + byte_words > kArenaWords) clear();
    added.ids[0] = static_cast<int32_t>(arena_.size());
    added.ids[1] = static_cast<int32_t>(piece.size());
    arena_.insert(arena_.end(), ids.begin(), ids.end());
    if (byte_words > 0) {
      arena_.resize(arena_.size() + byte_words);
      std::memcpy(arena_.data() + arena_.size() - byte_words, piece.data(), piece.size());
    }
  }
  Slot* bucket = &slots_[first_slot(hash)];
  for (size_t i = 0; i < kBucket; ++i) {
    const bool same = bucket[i].key.low == key.low && bucket[i].key.high == key.high;
    if (bucket[i].key.high == 0 || same) {
      used_ += same ? 0 : 1;
      bucket[i] = added;
      return;
    }
  }
  bucket[(hash >> 60) % kBucket] = added;
}

void PieceCache::clear() {
  std::fill(slots_.begin(), slots_.end(), Slot{});
  arena_.clear();
  used_ = 0;
}

void PieceCache::grow() {
  std::vector<Slot> old(slots_.size() * 4);
  std::swap(old, slots_);
  mask_ = slots_.size() - kBucket;
  used_ = 0;
  for (const Slot& slot : old) {
    if (slot.key.high == 0) continue;
    Slot* bucket = &slots_[first_slot(slot.key.slot_hash())];
    for (size_t i = 0; i < kBucket; ++i) {
      if (bucket[i].key.high != 0) continue;
      bucket[i] = slot;
      ++used_;
      break;
    }
  }
}

}  // namespace fledge::nn
