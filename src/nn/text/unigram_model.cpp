#include "nn/text/unigram_model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "nn/text/cached_encoding.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr double kUnknownPenalty = 10.0;
constexpr double kUserDefinedBonus = 0.1;
constexpr int32_t kUnknownCharacter = -1;
constexpr size_t kLongestPiece = size_t{1} << 31;

bool flag(const std::vector<bool>& flags, size_t id) {
  return id < flags.size() && flags[id];
}

}  // namespace

struct UnigramModel::UnigramScratch : Scratch {
  /// The best way from the beginning of the piece to a place in it.
  struct Arrival {
    double score;
    int32_t begin;  // where its last token begins; -1 where no way leads here
    int32_t token;
  };
  PieceCache cache;
  std::vector<int32_t> parts;
  std::vector<Arrival> arrivals;   // one for each place
  std::vector<uint32_t> boundary;  // the places of the best path, from the end
};

UnigramModel::UnigramModel(std::span<const std::string> tokens, std::vector<double> scores, UnigramOptions options)
    : vocabulary_(tokens),
      scores_(std::move(scores)),
      options_(std::move(options)),
      fallback_(vocabulary_),
      path_scores_(scores_) {
  double least = std::numeric_limits<double>::infinity(), greatest = -least;
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t id = 0; id < scores_.size(); ++id) {
    if (flag(options_.unreachable, id)) continue;
    keys.emplace_back(vocabulary_.bytes(static_cast<int32_t>(id)), static_cast<int32_t>(id));
    if (flag(options_.user_defined, id)) continue;
    least = std::min(least, scores_[id]);
    greatest = std::max(greatest, scores_[id]);
  }
  unknown_score_ = least - kUnknownPenalty;
  for (size_t id = 0; id < scores_.size(); ++id) {
    if (!flag(options_.user_defined, id)) continue;
    const auto length = static_cast<float>(vocabulary_.bytes(static_cast<int32_t>(id)).size());
    path_scores_[id] = static_cast<double>(length * static_cast<float>(greatest)) - kUserDefinedBonus;
  }
  trie_ = ByteTrie(std::move(keys));
}

std::unique_ptr<TokenModel::Scratch> UnigramModel::new_scratch() const {
  return std::make_unique<UnigramScratch>();
}

void UnigramModel::encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
                          std::vector<int32_t>& ids) const {
  auto& state = static_cast<UnigramScratch&>(scratch);
  encode_with_cache(
      pieces, readable_end, state.cache, state.parts, [&](std::string_view piece) { encode_piece(piece, state); }, ids);
}

/// Of equal sums the way that was found first stays: the one whose last token begins further left.
template <typename Score>
void UnigramModel::find_best_path(std::string_view piece, UnigramScratch& scratch) const {
  auto& arrivals = scratch.arrivals;
  arrivals.assign(piece.size() + 1, {0.0, -1, kUnknownCharacter});
  const auto offer = [&](size_t begin, size_t end, int32_t token, double score) {
    auto& arrival = arrivals[end];
    if (arrival.begin >= 0 && score <= arrival.score) return;
    arrival = {static_cast<double>(static_cast<Score>(score)), static_cast<int32_t>(begin), token};
  };
  for (size_t begin = 0, length = 0; begin < piece.size(); begin += length) {
    length = std::max<size_t>(1, utf8_length(piece, begin));
    const double so_far = arrivals[begin].score;
    bool has_character = false;
    trie_.for_each_prefix(piece.substr(begin), [&](size_t bytes, int32_t token) {
      offer(begin, begin + bytes, token, path_scores_[static_cast<size_t>(token)] + so_far);
      has_character = has_character || bytes == length;
    });
    if (has_character) continue;
    offer(begin, begin + length, kUnknownCharacter,
          static_cast<Score>(static_cast<Score>(unknown_score_) + static_cast<Score>(so_far)));
  }
}

void UnigramModel::encode_piece(std::string_view piece, UnigramScratch& scratch) const {
  scratch.parts.clear();
  if (piece.size() >= kLongestPiece) {
    throw base::Error("a text has a stretch of {} bytes without a place to split; at most {} can be encoded",
                      piece.size(), kLongestPiece - 1);
  }
  options_.single_precision ? find_best_path<float>(piece, scratch) : find_best_path<double>(piece, scratch);
  const auto& arrivals = scratch.arrivals;
  scratch.boundary.clear();
  for (size_t end = piece.size(); end > 0; end = static_cast<size_t>(arrivals[end].begin)) {
    scratch.boundary.push_back(static_cast<uint32_t>(end));
  }
  size_t begin = 0, unknown_begin = 0;
  const auto is_unknown = [&](int32_t token) { return token == kUnknownCharacter || token == options_.unknown; };
  for (auto end = scratch.boundary.rbegin(); end != scratch.boundary.rend(); begin = *end++) {
    const int32_t token = arrivals[*end].token;
    if (is_unknown(token)) continue;
    if (unknown_begin < begin) append_unknown(piece.substr(unknown_begin, begin - unknown_begin), scratch.parts);
    scratch.parts.push_back(token);
    unknown_begin = *end;
  }
  if (unknown_begin < piece.size()) append_unknown(piece.substr(unknown_begin), scratch.parts);
}

void UnigramModel::append_unknown(std::string_view run, std::vector<int32_t>& parts) const {
  if (const auto whole = vocabulary_.find(run); whole && !options_.single_precision) return parts.push_back(*whole);
  if (options_.byte_fallback && fallback_.append(run, parts)) return;
  if (!options_.unknown)
    throw base::Error("the tokenizer has no token for \"{}\" and none for unknown characters", run);
  parts.push_back(*options_.unknown);
}

}  // namespace fledge::nn
