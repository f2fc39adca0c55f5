#include "nn/text/unigram_seed.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "nn/text/guarded_parallel.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

bool begins_character(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
}

int64_t character_count(std::string_view text) {
  return std::count_if(text.begin(), text.end(), begins_character);
}

/// The beginning of a word's end: at most as many characters as a token may have.
struct Suffix {
  uint64_t key;  ///< its first bytes, the first one highest, filled up with zeros: decides most comparisons
  const char* begin;
  uint32_t length;
  int64_t count;

  std::string_view text() const { return {begin, length}; }
  bool operator<(const Suffix& other) const { return key != other.key ? key < other.key : text() < other.text(); }
};

Suffix make_suffix(const char* begin, size_t length, int64_t count) {
  Suffix suffix{0, begin, static_cast<uint32_t>(length), count};
  for (size_t byte = 0; byte < 8; ++byte) {
    suffix.key = suffix.key << 8 | (byte < length ? static_cast<uint8_t>(begin[byte]) : 0);
  }
  return suffix;
}

size_t common_length(std::string_view a, std::string_view b) {
  const size_t most = std::min(a.size(), b.size());
  size_t length = 0;
  while (length < most && a[length] == b[length]) ++length;
  return length;
}

/// The suffixes of all words, by their first byte.
std::vector<std::vector<Suffix>> sorted_suffixes(const std::vector<CountedWord>& words, int64_t longest) {
  std::vector<std::vector<Suffix>> buckets(256);
  std::vector<size_t> starts;
  for (const CountedWord& word : words) {
    starts.clear();
    for (size_t at = 0; at < word.text.size(); ++at) {
      if (begins_character(word.text[at])) starts.push_back(at);
    }
    for (size_t i = 0; i < starts.size(); ++i) {
      const size_t last = i + static_cast<size_t>(longest);
      const size_t end = last < starts.size() ? starts[last] : word.text.size();
      const char* begin = word.text.data() + starts[i];
      buckets[static_cast<uint8_t>(*begin)].push_back(make_suffix(begin, end - starts[i], word.count));
    }
  }
  guarded_parallel(256, [&](int64_t byte) {
    auto& bucket = buckets[static_cast<size_t>(byte)];
    std::sort(bucket.begin(), bucket.end());
  });
  return buckets;
}

/// Walks over the intervals of suffixes with a common beginning, the inner ones first.
class IntervalWalk {
 public:
  explicit IntervalWalk(std::vector<SeedPiece>& found) : found_(found) {}

  void run(const std::vector<Suffix>& suffixes) {
    for (size_t i = 0; i < suffixes.size(); ++i) {
      const std::string_view text = suffixes[i].text();
      const size_t shared = i + 1 < suffixes.size() ? common_length(text, suffixes[i + 1].text()) : 0;
      // A suffix is an interval of its own, from its parent's length to its whole text.
      int64_t count = suffixes[i].count;
      size_t length = text.size();
      const char* begin = text.data();
      for (;;) {
        const size_t parent = std::max(shared, open_.empty() ? 0 : open_.back().length);
        if (length > parent) emit({begin, length}, parent, count);
        if (open_.empty() || open_.back().length < shared) break;
        if (open_.back().length == shared) {
          open_.back().count += count;
          count = 0;
          break;
        }
        count += open_.back().count;
        length = open_.back().length;
        begin = open_.back().begin;
        open_.pop_back();
      }
      if (shared > 0 && (open_.empty() || open_.back().length < shared)) open_.push_back({begin, shared, count});
    }
    open_.clear();
  }

 private:
  struct Interval {
    const char* begin;
    size_t length;
    int64_t count;
  };

  /// `text` occurs `count` times, and its first `parent` bytes more often. Lengths may end inside a character.
  void emit(std::string_view text, size_t parent, int64_t count) {
    size_t length = text.size();
    while (length > 0 && !ends_character(text, length)) --length;
    if (length <= parent || count < 2) return;
    const std::string_view whole = text.substr(0, length);
    const int64_t characters = character_count(whole);
    if (characters < 2) return;
    found_.push_back({std::string(whole), static_cast<double>(count) * static_cast<double>(characters)});
  }

  static bool ends_character(std::string_view text, size_t length) {
    size_t begin = length - 1;
    while (begin > 0 && !begins_character(text[begin])) --begin;
    return begin + utf8_length(text, begin) == length;
  }

  std::vector<SeedPiece>& found_;
  std::vector<Interval> open_;
};

std::vector<SeedPiece> single_characters(const std::vector<CountedWord>& words) {
  std::map<std::string, double> counts;
  for (const CountedWord& word : words) {
    for (size_t at = 0, length = 0; at < word.text.size(); at += length) {
      length = std::max<size_t>(1, utf8_length(word.text, at));
      counts[std::string(word.text.substr(at, length))] += static_cast<double>(word.count);
    }
  }
  std::vector<SeedPiece> pieces;
  for (const auto& [text, count] : counts) pieces.push_back({text, count});
  return pieces;
}

}  // namespace

std::vector<SeedPiece> seed_pieces(const std::vector<CountedWord>& words, int64_t longest, size_t most) {
  const auto buckets = sorted_suffixes(words, longest);
  std::vector<std::vector<SeedPiece>> found(buckets.size());
  guarded_parallel(static_cast<int64_t>(buckets.size()), [&](int64_t bucket) {
    const auto index = static_cast<size_t>(bucket);
    IntervalWalk(found[index]).run(buckets[index]);
  });
  std::vector<SeedPiece> seeds;
  for (auto& part : found) seeds.insert(seeds.end(), part.begin(), part.end());
  if (seeds.size() > most) {
    const auto heavier = [](const SeedPiece& a, const SeedPiece& b) {
      return a.weight != b.weight ? a.weight > b.weight : a.text < b.text;
    };
    std::nth_element(seeds.begin(), seeds.begin() + static_cast<std::ptrdiff_t>(most), seeds.end(), heavier);
    seeds.resize(most);
  }
  const std::vector<SeedPiece> characters = single_characters(words);
  seeds.insert(seeds.end(), characters.begin(), characters.end());
  std::sort(seeds.begin(), seeds.end(), [](const SeedPiece& a, const SeedPiece& b) { return a.text < b.text; });
  return seeds;
}

}  // namespace fledge::nn
