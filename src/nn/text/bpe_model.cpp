#include "nn/text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "base/error.h"
#include "nn/text/cached_encoding.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kFreePair = std::numeric_limits<uint64_t>::max();
// Up to this length the lowest rank is found by looking at all of them, which is faster than a heap.
constexpr size_t kShortPiece = 48;
constexpr size_t kLongestPiece = size_t{1} << 31;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t hash_pair(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15u;
  return pair ^ pair >> 32;
}

}  // namespace

struct BpeModel::BpeScratch : Scratch {
  PieceCache cache;
  std::vector<int32_t> parts;   // the tokens of the piece that is being merged; the result lies here in the end
  std::vector<uint32_t> ranks;  // ranks[i] is the rank of the pair (i, next of i)
  std::vector<int32_t> next, previous;
  std::vector<uint64_t> heap;
};

BpeModel::BpeModel(std::span<const std::string> tokens, std::vector<BpeMerge> merges, bool whole_piece_first,
                   std::optional<BpeCharacters> characters)
    : vocabulary_(tokens),
      merges_(std::move(merges)),
      whole_piece_first_(whole_piece_first),
      characters_(std::move(characters)),
      fallback_(vocabulary_) {
  for (int byte = 0; byte < 256; ++byte) {
    const char letter = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary_.find({&letter, 1}).value_or(-1);
  }
  table_.assign(std::bit_ceil(2 * merges_.size() + 2), {kFreePair, {kNoRank, -1}});
  table_mask_ = table_.size() - 1;
  for (const BpeMerge& merge : merges_) {
    const uint64_t pair = pair_key(merge.left, merge.right);
    uint64_t slot = hash_pair(pair) & table_mask_;
    while (table_[slot].pair != kFreePair && table_[slot].pair != pair) slot = (slot + 1) & table_mask_;
    table_[slot] = {pair, {merge.rank, merge.result}};
  }
  for (const BpeMerge& merge : merges_) {
    const auto id = static_cast<size_t>(merge.result);
    if (characters_ && id < characters_->unused.size() && characters_->unused[id]) {
      halves_.emplace(merge.result, std::pair(merge.left, merge.right));
    }
  }
  std::stable_sort(merges_.begin(), merges_.end(),
                   [](const BpeMerge& a, const BpeMerge& b) { return a.rank < b.rank; });
}

std::unique_ptr<TokenModel::Scratch> BpeModel::new_scratch() const {
  return std::make_unique<BpeScratch>();
}

BpeModel::Found BpeModel::find_merge(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  for (uint64_t slot = hash_pair(pair) & table_mask_;; slot = (slot + 1) & table_mask_) {
    if (table_[slot].pair == pair) return table_[slot].found;
    if (table_[slot].pair == kFreePair) return {kNoRank, -1};
  }
}

void BpeModel::encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
                      std::vector<int32_t>& ids) const {
  auto& state = static_cast<BpeScratch&>(scratch);
  encode_with_cache(
      pieces, readable_end, state.cache, state.parts, [&](std::string_view piece) { encode_piece(piece, state); }, ids);
}

void BpeModel::encode_piece(std::string_view piece, BpeScratch& scratch) const {
  scratch.parts.clear();
  if (whole_piece_first_) {
    if (const auto whole = vocabulary_.find(piece)) {
      scratch.parts.push_back(*whole);
      return;
    }
  }
  if (characters_ && !characters_->never_split.empty()) {
    const auto whole = vocabulary_.find(piece);
    if (whole && characters_->never_split[static_cast<size_t>(*whole)]) return scratch.parts.push_back(*whole);
  }
  if (piece.size() >= kLongestPiece) {
    throw base::Error("a text has a stretch of {} bytes without a place to split; at most {} can be encoded",
                      piece.size(), kLongestPiece - 1);
  }
  characters_ ? begin_with_characters(piece, scratch) : begin_with_bytes(piece, scratch);
  scratch.parts.size() <= kShortPiece ? merge_short(scratch) : merge_long(scratch);
  if (!halves_.empty()) take_unused_apart(scratch.parts);
}

void BpeModel::take_unused_apart(std::vector<int32_t>& parts) const {
  std::vector<int32_t> result, stack;
  for (const int32_t part : parts) {
    stack.push_back(part);
    while (!stack.empty()) {
      const int32_t id = stack.back();
      stack.pop_back();
      const auto halves = halves_.find(id);
      if (halves == halves_.end()) {
        result.push_back(id);
      } else {
        stack.push_back(halves->second.second);
        stack.push_back(halves->second.first);
      }
    }
  }
  parts = std::move(result);
}

/// A byte without a token is left out, as Hugging Face does where there is no unknown token: its neighbours may join.
void BpeModel::begin_with_bytes(std::string_view piece, BpeScratch& scratch) const {
  scratch.parts.resize(piece.size());
  size_t count = 0;
  for (const char letter : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(letter)];
    scratch.parts[count] = id;
    count += id >= 0 ? 1 : 0;
  }
  scratch.parts.resize(count);
}

/// The order in which unknown characters and bytes come out is that of Hugging Face, also where a character falls back
/// to bytes between two unknown ones: an unknown token waits for the next one that is known.
void BpeModel::begin_with_characters(std::string_view piece, BpeScratch& scratch) const {
  const BpeCharacters& rules = *characters_;
  const bool bare = rules.continuing_prefix.empty() && rules.end_suffix.empty();
  bool unknown_waits = false;
  std::string name;
  for (size_t position = 0, length = 0; position < piece.size(); position += length) {
    length = std::max<size_t>(1, utf8_length(piece, position));
    std::string_view symbol = piece.substr(position, length);
    if (!bare) {
      name = position > 0 ? rules.continuing_prefix : "";
      name += symbol;
      if (position + length == piece.size()) name += rules.end_suffix;
      symbol = name;
    }
    const std::optional<int32_t> id = find_symbol(symbol);
    if (id) {
      if (unknown_waits) scratch.parts.push_back(*rules.unknown);
      unknown_waits = false;
      scratch.parts.push_back(*id);
    } else if (!(rules.byte_fallback && fallback_.append(symbol, scratch.parts)) && rules.unknown) {
      if (unknown_waits && !rules.fuse_unknown) scratch.parts.push_back(*rules.unknown);
      unknown_waits = true;
    }
  }
  if (unknown_waits) scratch.parts.push_back(*rules.unknown);
}

std::optional<int32_t> BpeModel::find_symbol(std::string_view symbol) const {
  if (symbol.size() > 1) return vocabulary_.find(symbol);
  const int32_t id = byte_ids_[static_cast<uint8_t>(symbol[0])];
  return id < 0 ? std::nullopt : std::optional(id);
}

void BpeModel::merge_short(BpeScratch& scratch) const {
  int32_t* parts = scratch.parts.data();
  size_t count = scratch.parts.size();
  Found pairs[kShortPiece];
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = find_merge(parts[i], parts[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == kNoRank) break;
    parts[best] = pairs[best].result;
    std::copy(parts + best + 2, parts + count, parts + best + 1);
    std::copy(pairs + std::min(best + 2, count - 1), pairs + count - 1, pairs + best + 1);
    --count;
    if (best + 1 < count) pairs[best] = find_merge(parts[best], parts[best + 1]);
    if (best > 0) pairs[best - 1] = find_merge(parts[best - 1], parts[best]);
  }
  scratch.parts.resize(count);
}

/// The parts form a linked list; a heap of (rank, position) holds the pairs, and an entry whose rank is no longer that
/// of its position is passed over. n log n for a piece of n bytes.
void BpeModel::merge_long(BpeScratch& scratch) const {
  std::vector<int32_t>& parts = scratch.parts;
  std::vector<int32_t>& next = scratch.next;
  std::vector<int32_t>& previous = scratch.previous;
  std::vector<uint32_t>& ranks = scratch.ranks;
  std::vector<uint64_t>& heap = scratch.heap;
  const auto count = static_cast<int32_t>(parts.size());
  ranks.assign(parts.size(), kNoRank);
  next.resize(parts.size());
  previous.resize(parts.size());
  heap.clear();
  const auto entry = [](uint32_t rank, int32_t position) {
    return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(position);
  };
  for (int32_t i = 0; i < count; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
    if (i + 1 < count) ranks[i] = find_merge(parts[i], parts[i + 1]).rank;
    if (ranks[i] != kNoRank) heap.push_back(entry(ranks[i], i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto update = [&](int32_t position) {
    ranks[position] = next[position] < count ? find_merge(parts[position], parts[next[position]]).rank : kNoRank;
    if (ranks[position] == kNoRank) return;
    heap.push_back(entry(ranks[position], position));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto position = static_cast<int32_t>(heap.back() & 0xFFFFFFFFu);
    heap.pop_back();
    if (ranks[position] != rank) continue;
    const int32_t removed = next[position];
    parts[position] = find_merge(parts[position], parts[removed]).result;
    ranks[removed] = kNoRank;
    next[position] = next[removed];
    if (next[position] < count) previous[next[position]] = position;
    update(position);
    if (previous[position] >= 0) update(previous[position]);
  }
  size_t kept = 0;
  for (int32_t i = 0; i < count; i = next[i]) parts[kept++] = parts[i];
  parts.resize(kept);
}

std::vector<BpeMerge> merges_from_ranks(std::span<const std::string> tokens) {
  const Vocabulary vocabulary(tokens);
  std::vector<BpeMerge> merges;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = vocabulary.find(token.substr(0, cut));
      const auto right = left ? vocabulary.find(token.substr(cut)) : std::nullopt;
      if (right) merges.push_back({*left, *right, static_cast<int32_t>(id), static_cast<uint32_t>(id)});
    }
  }
  return merges;
}

}  // namespace fledge::nn
