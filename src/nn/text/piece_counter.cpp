#include "nn/text/piece_counter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "nn/text/vocabulary.h"

namespace fledge::nn {
namespace {

constexpr size_t kFirstSlots = 1 << 12;

bool fits_inline(std::string_view piece) {
  return piece.size() <= PieceCache::kInlineBytes;
}

}  // namespace

PieceCounter::PieceCounter() : slots_(kFirstSlots) {}

std::string_view PieceCounter::piece_of(const Slot& slot) const {
  if (!is_long(slot)) return {reinterpret_cast<const char*>(&slot.key), static_cast<size_t>(slot.key.high >> 56)};
  const char* entry = arena_.data() + (slot.key.high & ~kLong);
  uint64_t length;
  std::memcpy(&length, entry, sizeof length);
  return {entry + sizeof length, length};
}

PieceCache::Key PieceCounter::key_of(std::string_view piece) const {
  if (fits_inline(piece)) return PieceCache::key_of(piece, readable_end_ != nullptr ? readable_end_ : piece.data());
  return {hash_bytes(piece), kLong};
}

uint64_t PieceCounter::hash_of(const PieceCache::Key& key, std::string_view piece) {
  return fits_inline(piece) ? key.slot_hash() : key.low;
}

void PieceCounter::take(std::span<const std::string_view> pieces) {
  constexpr size_t kGroup = 32;
  PieceCache::Key keys[kGroup];
  uint64_t hashes[kGroup];
  for (size_t first = 0; first < pieces.size(); first += kGroup) {
    const auto group = pieces.subspan(first, std::min(kGroup, pieces.size() - first));
    for (size_t i = 0; i < group.size(); ++i) {
      keys[i] = key_of(group[i]);
      hashes[i] = hash_of(keys[i], group[i]);
      __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
    }
    for (size_t i = 0; i < group.size(); ++i) add(keys[i], hashes[i], group[i], 1);
  }
}

void PieceCounter::add(std::string_view piece, int64_t count) {
  readable_end_ = piece.data() + piece.size();
  const PieceCache::Key key = key_of(piece);
  add(key, hash_of(key, piece), piece, count);
}

void PieceCounter::add(const PieceCounter& other) {
  other.for_each([&](std::string_view piece, int64_t count) { add(piece, count); });
}

void PieceCounter::add(const PieceCache::Key& key, uint64_t hash, std::string_view piece, int64_t count) {
  const size_t mask = slots_.size() - 1;
  const bool is_inline = fits_inline(piece);
  size_t place = hash & mask;
  for (; slots_[place].count > 0; place = (place + 1) & mask) {
    const Slot& slot = slots_[place];
    if (slot.key.low != key.low) continue;
    if (is_inline ? slot.key.high == key.high : is_long(slot) && piece_of(slot) == piece) {
      slots_[place].count += count;
      return;
    }
  }
  slots_[place] = {key, count};
  if (!is_inline) {
    slots_[place].key.high = kLong | arena_.size();
    const uint64_t length = piece.size();
    arena_.append(reinterpret_cast<const char*>(&length), sizeof length);
    arena_.append(piece);
  }
  if (2 * ++used_ > slots_.size()) grow();
}

void PieceCounter::grow() {
  std::vector<Slot> old(2 * slots_.size());
  std::swap(old, slots_);
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.count == 0) continue;
    size_t place = (is_long(slot) ? slot.key.low : slot.key.slot_hash()) & mask;
    while (slots_[place].count > 0) place = (place + 1) & mask;
    slots_[place] = slot;
  }
}

}  // namespace fledge::nn
