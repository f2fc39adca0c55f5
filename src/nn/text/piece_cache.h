#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace fledge::nn {

/// Remembers the ids of pieces that were seen lately. Bounded: the table stops growing at 8 MiB and then overwrites,
/// and what does not fit a slot lies in an arena that is emptied, with the table, when it is full. One thread at a
/// time.
class PieceCache {
 public:
  static constexpr size_t kInlineBytes = 15;    ///< a piece of at most this many bytes is its own key
  static constexpr size_t kLongestPiece = 256;  ///< longer pieces are not kept
  static constexpr size_t kInlineIds = 3;

  /// The key of a piece: its bytes, or two hashes of them. The top byte of `high` tells which and is never 0.
  struct Key {
    uint64_t low, high;
    uint64_t slot_hash() const {
      const unsigned __int128 product =
          static_cast<unsigned __int128>(low ^ 0x9E3779B97F4A7C15u) * (high ^ 0xD6E8FEB86659FD93u);
      return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    }
  };

  PieceCache();

  /// Bytes before `readable_end` may be read behind the piece. The piece has 1 to kLongestPiece bytes.
  static Key key_of(std::string_view piece, const char* readable_end) {
    if (piece.size() > kInlineBytes) return long_key(piece);
    uint64_t words[2];
    if (readable_end - piece.data() >= 16) {
      std::memcpy(words, piece.data(), 16);
      words[0] &= kMasks[piece.size()][0];
      words[1] &= kMasks[piece.size()][1];
    } else {
      words[0] = words[1] = 0;
      std::memcpy(words, piece.data(), piece.size());
    }
    return {words[0], words[1] | static_cast<uint64_t>(piece.size()) << 56};
  }

  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[first_slot(hash)]); }

  /// Writes the piece's ids to `ids` and returns their number, or 0 where the piece is not known. `ids` has room for
  /// one id per byte of the piece, and for kInlineIds.
  size_t find(const Key& key, uint64_t hash, std::string_view piece, int32_t* ids) const {
    const Slot* bucket = &slots_[first_slot(hash)];
    for (size_t i = 0; i < kBucket; ++i) {
      const Slot& slot = bucket[i];
      if (slot.key.low == key.low && slot.key.high == key.high) {
        if (slot.count <= kInlineIds && piece.size() <= kInlineBytes) {
          std::memcpy(ids, slot.ids, sizeof slot.ids);
          return slot.count;
        }
        return find_in_arena(slot, piece, ids);
      }
    }
    return 0;
  }

  /// Keeps the ids of a piece that find() did not know.
  void insert(const Key& key, uint64_t hash, std::string_view piece, std::span<const int32_t> ids);

 private:
  static constexpr size_t kBucket = 4;
  static constexpr size_t kFirstSlots = size_t{1} << 10, kMostSlots = size_t{1} << 18;
  static constexpr size_t kArenaWords = size_t{1} << 21;
  static const uint64_t kMasks[16][2];

  struct alignas(32) Slot {
    Key key;
    uint32_t count;
    int32_t ids[kInlineIds];  // or, where they do not fit: ids[0] is the place in the arena
  };

  size_t first_slot(uint64_t hash) const { return hash & mask_; }
  static Key long_key(std::string_view piece);
  size_t find_in_arena(const Slot& slot, std::string_view piece, int32_t* ids) const;
  void clear();
  void grow();

  std::vector<Slot> slots_;
  size_t mask_ = 0;  // of the first slot of a bucket: a multiple of kBucket
  size_t used_ = 0;
  std::vector<int32_t> arena_;  // per entry: the ids, then the bytes of a piece that is longer than kInlineBytes
};

}  // namespace fledge::nn
