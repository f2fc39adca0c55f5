#include "nn/text/merge_learner.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace fledge::nn {
namespace {

constexpr size_t kMostPlaces = std::numeric_limits<uint32_t>::max();
constexpr size_t kMostPieces = std::numeric_limits<int32_t>::max();

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t hash_pair(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ key >> 32;
}

}  // namespace

void MergeLearner::add_piece(std::span<const int32_t> tokens, int64_t count) {
  if (tokens.size() < 2) return;
  if (pieces_.size() == kMostPieces || tokens.size() > kMostPlaces) {
    throw base::Error("BPE training: the text has too many or too long pieces");
  }
  pieces_.push_back({tokens_.size(), static_cast<uint32_t>(tokens.size()), count});
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

void MergeLearner::grow_index() {
  index_.assign(std::max<size_t>(1 << 16, 2 * index_.size()), 0);
  const uint64_t mask = index_.size() - 1;
  for (uint32_t pair = 0; pair < pairs_.size(); ++pair) {
    uint64_t slot = hash_pair(pairs_[pair].key) & mask;
    while (index_[slot] != 0) slot = (slot + 1) & mask;
    index_[slot] = pair + 1;
  }
}

uint32_t MergeLearner::pair_index(int32_t left, int32_t right) {
  if (2 * pairs_.size() >= index_.size()) grow_index();
  const uint64_t key = pair_key(left, right), mask = index_.size() - 1;
  uint64_t slot = hash_pair(key) & mask;
  for (; index_[slot] != 0; slot = (slot + 1) & mask) {
    if (pairs_[index_[slot] - 1].key == key) return index_[slot] - 1;
  }
  pairs_.push_back({key, 0, -1, 0, 0});
  index_[slot] = static_cast<uint32_t>(pairs_.size());
  return static_cast<uint32_t>(pairs_.size()) - 1;
}

/// One more occurrence of a pair in a piece. Pieces come one after the other, so that a piece that is noted already is
/// the last one that was.
void MergeLearner::note(int32_t left, int32_t right, int32_t piece) {
  const uint32_t index = pair_index(left, right);
  Pair& pair = pairs_[index];
  pair.count += pieces_[static_cast<size_t>(piece)].count;
  if (pair.noted > 0 && pair.last_piece == piece) return;
  if (pair.noted++ == 0) touched_.push_back(index);
  pair.last_piece = piece;
  notes_.push_back({index, piece});
}

/// Puts the pairs of this round into the queue, each with the pieces that were noted for it.
void MergeLearner::queue_noted(int64_t min_frequency) {
  for (const uint32_t index : touched_) {
    Pair& pair = pairs_[index];
    if (pair.count >= min_frequency) {
      const size_t begin = arena_.size();
      if (begin + pair.noted > kMostPlaces) throw base::Error("BPE training: the text has too many distinct pieces");
      arena_.resize(begin + pair.noted);
      pair.place = static_cast<uint32_t>(begin);
      queue_.push_back({pair.count, pair.key, index, pair.place, pair.place + pair.noted});
      std::push_heap(queue_.begin(), queue_.end());
    }
  }
  for (const Note& entry : notes_) {
    Pair& pair = pairs_[entry.pair];
    if (pair.count >= min_frequency) arena_[pair.place++] = entry.piece;
  }
  for (const uint32_t index : touched_) pairs_[index].noted = 0;
  touched_.clear();
  notes_.clear();
}

void MergeLearner::merge_in_piece(int32_t index, uint64_t key, int32_t id) {
  Piece& piece = pieces_[static_cast<size_t>(index)];
  const auto left = static_cast<int32_t>(key >> 32), right = static_cast<int32_t>(key & 0xFFFFFFFFu);
  int32_t* tokens = tokens_.data() + piece.begin;
  const uint32_t length = piece.length;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < length; ++i) {
    if (tokens[i] != left || i + 1 == length || tokens[i + 1] != right) {
      tokens[kept++] = tokens[i];
      continue;
    }
    if (kept > 0) {
      pairs_[pair_index(tokens[kept - 1], left)].count -= piece.count;
      note(tokens[kept - 1], id, index);
    }
    if (i + 2 < length) {
      pairs_[pair_index(right, tokens[i + 2])].count -= piece.count;
      note(id, tokens[i + 2], index);
    }
    tokens[kept++] = id;
    ++i;
  }
  piece.length = kept;
}

void MergeLearner::run(int64_t min_frequency, const std::function<bool(int32_t, int32_t, int32_t&)>& next_token) {
  min_frequency = std::max<int64_t>(1, min_frequency);
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    const int32_t* tokens = tokens_.data() + pieces_[piece].begin;
    for (uint32_t i = 0; i + 1 < pieces_[piece].length; ++i) {
      note(tokens[i], tokens[i + 1], static_cast<int32_t>(piece));
    }
  }
  queue_noted(min_frequency);
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end());
    Candidate& top = queue_.back();
    const int64_t count = pairs_[top.pair].count;
    if (count < min_frequency) {
      queue_.pop_back();
      continue;
    }
    if (count != top.count) {
      top.count = count;
      std::push_heap(queue_.begin(), queue_.end());
      continue;
    }
    const Candidate best = top;
    queue_.pop_back();
    int32_t id = 0;
    if (!next_token(static_cast<int32_t>(best.key >> 32), static_cast<int32_t>(best.key & 0xFFFFFFFFu), id)) return;
    // The count of the merged pair itself stays, as in Hugging Face's trainer: where the pair arises again, because
    // the same bytes became one token by another way, its old occurrences still count.
    for (uint32_t i = best.begin; i < best.end; ++i) merge_in_piece(arena_[i], best.key, id);
    queue_noted(min_frequency);
  }
}

}  // namespace fledge::nn
