#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

#include "nn/text/piece_cache.h"

namespace fledge::nn {

/// Appends the ids of each piece to `ids`: out of the cache where it is known, else by encode_piece(piece), which fills
/// `parts`. Up to `readable_end` (null: the end of each piece) memory may be read.
template <typename EncodePiece>
void encode_with_cache(std::span<const std::string_view> pieces, const char* readable_end, PieceCache& cache,
                       const std::vector<int32_t>& parts, const EncodePiece& encode_piece, std::vector<int32_t>& ids) {
  constexpr size_t kGroup = 64;
  PieceCache::Key keys[kGroup];
  uint64_t hashes[kGroup];
  // Ids gather here, so that the vector grows once for many pieces.
  int32_t found[4 * PieceCache::kLongestPiece];
  size_t waiting = 0;
  const auto flush = [&] {
    ids.insert(ids.end(), found, found + waiting);
    waiting = 0;
  };
  for (size_t first = 0; first < pieces.size(); first += kGroup) {
    const auto group = pieces.subspan(first, std::min(kGroup, pieces.size() - first));
    // First all keys, so that the slots of later pieces are on their way while earlier ones are looked up.
    for (size_t i = 0; i < group.size(); ++i) {
      if (group[i].size() > PieceCache::kLongestPiece) continue;
      keys[i] = PieceCache::key_of(group[i], readable_end != nullptr ? readable_end : group[i].data());
      hashes[i] = keys[i].slot_hash();
      cache.prefetch(hashes[i]);
    }
    for (size_t i = 0; i < group.size(); ++i) {
      const std::string_view piece = group[i];
      const bool cached = piece.size() <= PieceCache::kLongestPiece;
      if (waiting + PieceCache::kLongestPiece > std::size(found)) flush();
      const size_t count = cached ? cache.find(keys[i], hashes[i], piece, found + waiting) : 0;
      waiting += count;
      if (count > 0) continue;
      flush();
      encode_piece(piece);
      ids.insert(ids.end(), parts.begin(), parts.end());
      // No ids mean "not known" to the cache, and more than one for a byte have no room.
      if (cached && !parts.empty() && parts.size() <= piece.size()) cache.insert(keys[i], hashes[i], piece, parts);
    }
  }
  flush();
}

}  // namespace fledge::nn
