#include "nn/text/chars_map.h"

#include <algorithm>

#include "base/error.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

// Parts of a unit of the double array (Darts-clone): bit 31 marks a value, bit 8 that a value hangs below the node, the
// lowest byte is the label, and the rest the distance to the children.
bool has_value(uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
uint32_t label(uint32_t unit) {
  return unit & (uint32_t{1} << 31 | 0xFF);
}
uint32_t offset(uint32_t unit) {
  return (unit >> 10) << ((unit & uint32_t{1} << 9) >> 6);
}
uint32_t value(uint32_t unit) {
  return unit & ((uint32_t{1} << 31) - 1);
}

constexpr size_t kLongestCluster = 5;

uint32_t little_endian(std::string_view bytes) {
  uint32_t number = 0;
  for (size_t i = 4; i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[i]);
  return number;
}

}  // namespace

CharsMap::CharsMap(std::string_view bytes, std::string_view origin) {
  if (bytes.empty()) return;
  const size_t trie_size = bytes.size() < 4 ? 0 : little_endian(bytes);
  if (trie_size == 0 || trie_size % 4 != 0 || trie_size > bytes.size() - 4) {
    throw base::Error("{}: the precompiled character map of {} bytes says that its trie has {}", origin, bytes.size(),
                      trie_size);
  }
  units_.resize(trie_size / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = little_endian(bytes.substr(4 + 4 * i, 4));
  replacements_ = bytes.substr(4 + trie_size);
}

std::optional<CharsMap::Match> CharsMap::find(std::string_view text, bool longest) const {
  std::optional<Match> match;
  size_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == 0) break;
    node ^= byte;
    // A map from outside may point anywhere.
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_value(unit)) continue;
    if (node >= units_.size()) break;
    const size_t begin = value(units_[node]);
    if (begin > replacements_.size()) break;
    const size_t end = std::min(replacements_.find('\0', begin), replacements_.size());
    match = Match{i + 1, std::string_view(replacements_).substr(begin, end - begin)};
    if (!longest) break;
  }
  return match;
}

void CharsMap::append_cluster(std::string_view cluster, std::string& result) const {
  if (cluster.size() <= kLongestCluster) {
    if (const auto match = find(cluster, false)) {
      result += match->replacement;
      return;
    }
  }
  while (!cluster.empty()) {
    const std::string_view character = cluster.substr(0, std::max<size_t>(1, utf8_length(cluster, 0)));
    const auto match = find(character, false);
    result += match ? match->replacement : character;
    cluster.remove_prefix(character.size());
  }
}

void CharsMap::append_by_cluster(std::string_view text, std::string& result) const {
  if (empty()) {
    result += text;
    return;
  }
  static const auto clusters = make_pcre2_splitter("\\X", "grapheme clusters");
  class Sink : public PieceSink {
   public:
    Sink(const CharsMap& map, std::string& result) : map_(map), result_(result) {}
    void take(std::span<const std::string_view> pieces) override {
      for (const std::string_view cluster : pieces) map_.append_cluster(cluster, result_);
    }

   private:
    const CharsMap& map_;
    std::string& result_;
  } sink(*this, result);
  clusters->split(text, sink);
}

}  // namespace fledge::nn
