#include "nn/text/unigram_learner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "nn/text/byte_trie.h"
#include "nn/text/guarded_parallel.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr size_t kParts = 256;
constexpr double kFixedPoint = 1 << 20;  // expected counts are multiples of its inverse
constexpr double kLeastExpected = 0.5;

/// The derivative of log gamma, by its asymptotic series above 7 (Abramowitz and Stegun, 6.3.18) and
/// digamma(x) = digamma(x + 1) - 1 / x below.
double digamma(double x) {
  double sum = 0.0;
  for (; x < 7.0; x += 1.0) sum -= 1.0 / x;
  const double inverse = 1.0 / x, square = inverse * inverse;
  return sum + std::log(x) - 0.5 * inverse -
         square * (1.0 / 12 - square * (1.0 / 120 - square * (1.0 / 252 - square / 240)));
}

}  // namespace

struct UnigramLearner::Scratch {
  std::vector<int64_t> counts;            // by piece
  std::vector<double> forward, backward;  // by byte of a word, and one more
  std::vector<Edge> arrival;              // the last piece of the best way to a byte
};

UnigramLearner::UnigramLearner(const std::vector<CountedWord>& words, const std::vector<SeedPiece>& seeds)
    : places_(seeds.size()), parts_(std::min(kParts, words.size())) {
  double total = 0.0;
  for (const SeedPiece& seed : seeds) total += seed.weight;
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (const SeedPiece& seed : seeds) {
    const bool is_character = utf8_length(seed.text, 0) == seed.text.size();
    keys.emplace_back(seed.text, static_cast<int32_t>(pieces_.size()));
    pieces_.push_back({seed.text, std::log(seed.weight / total), is_character});
  }
  const ByteTrie trie(std::move(keys));
  guarded_parallel(static_cast<int64_t>(parts_.size()), [&](int64_t index) {
    Part& part = parts_[static_cast<size_t>(index)];
    const size_t first = words.size() * static_cast<size_t>(index) / parts_.size();
    const size_t last = words.size() * static_cast<size_t>(index + 1) / parts_.size();
    for (size_t number = first; number < last; ++number) {
      const std::string_view text = words[number].text;
      const auto begin = static_cast<uint32_t>(part.edge_begin.size());
      part.words.push_back({begin, begin + static_cast<uint32_t>(text.size()), words[number].count});
      for (size_t at = 0; at < text.size(); ++at) {
        part.edge_begin.push_back(static_cast<uint32_t>(part.edges.size()));
        if (utf8_length(text, at) == 0) continue;
        trie.for_each_prefix(text.substr(at), [&](size_t length, int32_t piece) {
          part.edges.push_back(static_cast<Edge>(piece) << 8 | static_cast<Edge>(length));
        });
      }
    }
    part.edge_begin.push_back(static_cast<uint32_t>(part.edges.size()));
  });
  for (uint32_t number = 0; number < parts_.size(); ++number) {
    const Part& part = parts_[number];
    for (uint32_t byte = 0; byte + 1 < part.edge_begin.size(); ++byte) {
      for (uint32_t i = part.edge_begin[byte]; i < part.edge_begin[byte + 1]; ++i) {
        places_[piece_of(part.edges[i])] = {number, byte};
      }
    }
  }
}

/// Calls visit(part, scratch) for all parts, and returns the sum of what they counted.
template <typename Visit>
std::vector<int64_t> UnigramLearner::gather(const Visit& visit) const {
  std::vector<Scratch> scratches(static_cast<size_t>(base::thread_count()));
  guarded_parallel(static_cast<int64_t>(parts_.size()), [&](int64_t index) {
    Scratch& scratch = scratches[static_cast<size_t>(base::thread_index()) % scratches.size()];
    scratch.counts.resize(pieces_.size());
    visit(parts_[static_cast<size_t>(index)], scratch);
  });
  std::vector<int64_t> counts(pieces_.size());
  for (const Scratch& scratch : scratches) {
    for (size_t piece = 0; piece < scratch.counts.size(); ++piece) counts[piece] += scratch.counts[piece];
  }
  return counts;
}

/// Adds to `scratch` how often each piece is expected in a part, in fixed point: forward and backward over the ways to
/// cut each word. A piece's factor is its probability times a constant to the power of its length, which changes all
/// ways by the same factor and so no expectation.
void UnigramLearner::expect(const Part& part, const std::vector<double>& factors, Scratch& scratch) const {
  for (const Part::Word& word : part.words) {
    const uint32_t size = word.end - word.begin;
    const uint32_t* begins = part.edge_begin.data() + word.begin;
    double* forward = (scratch.forward.assign(size + 1, 0.0), scratch.forward.data());
    double* backward = (scratch.backward.assign(size + 1, 0.0), scratch.backward.data());
    forward[0] = backward[size] = 1.0;
    for (uint32_t byte = 0; byte < size; ++byte) {
      for (uint32_t i = begins[byte]; i < begins[byte + 1]; ++i) {
        forward[byte + length_of(part.edges[i])] += forward[byte] * factors[piece_of(part.edges[i])];
      }
    }
    const double weight = kFixedPoint * static_cast<double>(word.count) / forward[size];
    for (uint32_t byte = size; byte-- > 0;) {
      const double before = weight * forward[byte];
      for (uint32_t i = begins[byte]; i < begins[byte + 1]; ++i) {
        const uint32_t piece = piece_of(part.edges[i]);
        const double behind = factors[piece] * backward[byte + length_of(part.edges[i])];
        backward[byte] += behind;
        scratch.counts[piece] += static_cast<int64_t>(before * behind + 0.5);
      }
    }
  }
}

void UnigramLearner::improve(bool drops) {
  std::vector<double> factors;
  for (const Piece& piece : pieces_) {
    factors.push_back(std::exp(piece.score + nats_per_byte_ * static_cast<double>(piece.text.size())));
  }
  const std::vector<int64_t> counts =
      gather([&](const Part& part, Scratch& scratch) { expect(part, factors, scratch); });
  std::vector<bool> kept(pieces_.size());
  double total = 0.0, nats = 0.0, bytes = 0.0;
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    const double count = static_cast<double>(counts[piece]) / kFixedPoint;
    kept[piece] = !drops || pieces_[piece].is_character || count >= kLeastExpected;
    nats -= count * pieces_[piece].score;
    bytes += count * static_cast<double>(pieces_[piece].text.size());
    if (kept[piece]) total += std::max(count, kLeastExpected);
  }
  nats_per_byte_ = nats / bytes;
  const double log_total = digamma(total);
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    const double count = static_cast<double>(counts[piece]) / kFixedPoint;
    pieces_[piece].score = digamma(std::max(count, kLeastExpected)) - log_total;
  }
  keep(kept);
}

/// The best way from byte 0 to each of `size` bytes whose edges begin at `begins`, by pieces that may be used:
/// scores in scratch.forward, the last edge of each in scratch.arrival.
template <typename MayUse>
void UnigramLearner::find_best(const Part& part, const uint32_t* begins, uint32_t size, const MayUse& may_use,
                               Scratch& scratch) const {
  scratch.forward.assign(size + 1, -std::numeric_limits<double>::infinity());
  scratch.arrival.resize(size + 1);
  scratch.forward[0] = 0.0;
  for (uint32_t byte = 0; byte < size; ++byte) {
    for (uint32_t i = begins[byte]; i < begins[byte + 1]; ++i) {
      const uint32_t end = byte + length_of(part.edges[i]);
      if (end > size || !may_use(piece_of(part.edges[i]))) continue;
      const double score = scratch.forward[byte] + pieces_[piece_of(part.edges[i])].score;
      if (score <= scratch.forward[end]) continue;
      scratch.forward[end] = score;
      scratch.arrival[end] = part.edges[i];
    }
  }
}

/// Adds to `scratch` how often each piece is used where every word is cut in its best way.
void UnigramLearner::count_best(const Part& part, Scratch& scratch) const {
  for (const Part::Word& word : part.words) {
    const uint32_t size = word.end - word.begin;
    const uint32_t* begins = part.edge_begin.data() + word.begin;
    find_best(
        part, begins, size, [](uint32_t) { return true; }, scratch);
    for (uint32_t end = size; end > 0; end -= length_of(scratch.arrival[end])) {
      scratch.counts[piece_of(scratch.arrival[end])] += word.count;
    }
  }
}

/// The best way to write a piece by others; fills `path` with them and returns their score.
double UnigramLearner::best_without(uint32_t piece, std::vector<uint32_t>& path, Scratch& scratch) const {
  const Part& part = parts_[places_[piece].part];
  const uint32_t* begins = part.edge_begin.data() + places_[piece].byte;
  const auto size = static_cast<uint32_t>(pieces_[piece].text.size());
  find_best(
      part, begins, size, [&](uint32_t other) { return other != piece; }, scratch);
  path.clear();
  for (uint32_t end = size; end > 0; end -= length_of(scratch.arrival[end])) {
    path.push_back(piece_of(scratch.arrival[end]));
  }
  return scratch.forward[size];
}

/// How much log-likelihood (a mean over all tokens) would be lost with each piece: each of its uses would become the
/// best way without it. Infinite for a single character, -1 for what is never used.
std::vector<double> UnigramLearner::losses(const std::vector<int64_t>& counts) const {
  const auto uses = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  std::vector<double> result(pieces_.size(), -1.0);
  constexpr int64_t kGroup = 4096;
  const auto size = static_cast<int64_t>(pieces_.size());
  guarded_parallel((size + kGroup - 1) / kGroup, [&](int64_t group) {
    Scratch scratch;
    std::vector<uint32_t> path;
    for (int64_t index = group * kGroup; index < std::min(size, (group + 1) * kGroup); ++index) {
      const auto piece = static_cast<size_t>(index);
      if (pieces_[piece].is_character) {
        result[piece] = std::numeric_limits<double>::infinity();
        continue;
      }
      if (counts[piece] == 0) continue;
      if (best_without(static_cast<uint32_t>(piece), path, scratch) > pieces_[piece].score) continue;
      const auto own = static_cast<double>(counts[piece]);
      const double uses_without = uses + own * static_cast<double>(path.size() - 1);
      double without = 0.0;
      for (const uint32_t other : path) without += std::log((static_cast<double>(counts[other]) + own) / uses_without);
      result[piece] = own / uses * (std::log(own / uses) - without);
    }
  });
  return result;
}

void UnigramLearner::prune(size_t size) {
  if (size >= pieces_.size()) return;
  const std::vector<int64_t> counts = gather([&](const Part& part, Scratch& scratch) { count_best(part, scratch); });
  const std::vector<double> loss = losses(counts);
  std::vector<uint32_t> order(pieces_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return loss[a] != loss[b] ? loss[a] > loss[b] : a < b; });
  std::vector<bool> kept(pieces_.size());
  for (size_t rank = 0; rank < order.size(); ++rank) {
    kept[order[rank]] = rank < size || pieces_[order[rank]].is_character;
  }
  keep(kept);
}

void UnigramLearner::keep(const std::vector<bool>& kept) {
  std::vector<uint32_t> new_number(pieces_.size());
  uint32_t count = 0;
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    new_number[piece] = count;
    if (!kept[piece]) continue;
    if (count != piece) pieces_[count] = std::move(pieces_[piece]);
    places_[count++] = places_[piece];
  }
  if (count == pieces_.size()) return;
  pieces_.resize(count);
  places_.resize(count);
  guarded_parallel(static_cast<int64_t>(parts_.size()), [&](int64_t index) {
    Part& part = parts_[static_cast<size_t>(index)];
    uint32_t filled = 0, next = 0;
    for (size_t byte = 0; byte + 1 < part.edge_begin.size(); ++byte) {
      const uint32_t begin = next;
      next = part.edge_begin[byte + 1];
      part.edge_begin[byte] = filled;
      for (uint32_t i = begin; i < next; ++i) {
        const uint32_t piece = piece_of(part.edges[i]);
        if (kept[piece]) part.edges[filled++] = new_number[piece] << 8 | length_of(part.edges[i]);
      }
    }
    part.edge_begin.back() = filled;
    part.edges.resize(filled);
  });
}

}  // namespace fledge::nn
