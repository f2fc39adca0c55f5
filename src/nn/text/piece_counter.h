#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/piece_cache.h"
#include "nn/text/pre_tokenizer.h"

namespace fledge::nn {

/// Counts how often each piece occurs. Memory grows with distinct pieces alone. One thread at a time.
class PieceCounter : public PieceSink {
 public:
  PieceCounter();

  /// Bytes before `end` may be read behind the pieces that come next; null: none.
  void set_readable_end(const char* end) { readable_end_ = end; }

  void take(std::span<const std::string_view> pieces) override;
  void add(std::string_view piece, int64_t count);
  void add(const PieceCounter& other);

  size_t distinct() const { return used_; }

  /// Calls visit(piece, count) for every piece, in no particular order.
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.count > 0) visit(piece_of(slot), slot.count);
    }
  }

 private:
  /// A piece of up to PieceCache::kInlineBytes is its key. A longer one has its hash in key.low, and in key.high the
  /// mark kLong and its place in the arena.
  struct Slot {
    PieceCache::Key key{0, 0};
    int64_t count = 0;
  };
  static constexpr uint64_t kLong = uint64_t{0xFF} << 56;

  static bool is_long(const Slot& slot) { return slot.key.high >= kLong; }
  std::string_view piece_of(const Slot& slot) const;
  void add(const PieceCache::Key& key, uint64_t hash, std::string_view piece, int64_t count);
  PieceCache::Key key_of(std::string_view piece) const;
  static uint64_t hash_of(const PieceCache::Key& key, std::string_view piece);
  void grow();

  const char* readable_end_ = nullptr;
  std::vector<Slot> slots_;
  size_t used_ = 0;
  std::string arena_;  // of each long piece the length in 8 bytes, then the bytes
};

}  // namespace fledge::nn
