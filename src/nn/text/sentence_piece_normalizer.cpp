#include "nn/text/sentence_piece_normalizer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "nn/text/byte_trie.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr std::string_view kMark = "\u2581";

class SentencePieceNormalizer : public Normalizer {
 public:
  SentencePieceNormalizer(CharsMap map, SentencePieceSpaces spaces, std::span<const std::string> user_defined)
      : map_(std::move(map)), spaces_(spaces), space_(spaces.escape ? kMark : std::string_view(" ")) {
    std::vector<std::pair<std::string_view, int32_t>> keys;
    for (const std::string& symbol : user_defined) keys.emplace_back(symbol, 0);
    user_defined_ = ByteTrie(std::move(keys));
  }

  void apply(std::string& text) const override {
    std::string_view rest = text;
    if (spaces_.remove_extra) {
      while (!rest.empty() && normalize_prefix(rest).replacement == " ") {
        rest.remove_prefix(normalize_prefix(rest).length);
      }
    }
    std::string result;
    result.reserve(text.size() + text.size() / 2 + kMark.size());
    if (!rest.empty() && spaces_.add_prefix) result += space_;
    bool after_space = spaces_.remove_extra;
    while (!rest.empty()) {
      CharsMap::Match match = normalize_prefix(rest);
      rest.remove_prefix(match.length);
      std::string_view part = match.replacement;
      while (after_space && part.starts_with(' ')) part.remove_prefix(1);
      if (part.empty()) continue;
      for (const char c : part) c == ' ' ? result += space_ : result += c;
      after_space = spaces_.remove_extra && part.ends_with(' ');
    }
    if (spaces_.remove_extra) {
      while (std::string_view(result).ends_with(space_)) result.resize(result.size() - space_.size());
    }
    text = std::move(result);
  }

 private:
  /// What the next bytes of a text become, and how many they are. `rest` is not empty.
  CharsMap::Match normalize_prefix(std::string_view rest) const {
    size_t symbol = 0;
    user_defined_.for_each_prefix(rest, [&](size_t length, int32_t) { symbol = length; });
    if (symbol > 0) return {symbol, rest.substr(0, symbol)};
    if (const auto match = map_.find_longest(rest)) return *match;
    const size_t length = std::max<size_t>(1, utf8_length(rest, 0));
    return {length, rest.substr(0, length)};
  }

  CharsMap map_;
  SentencePieceSpaces spaces_;
  std::string_view space_;
  ByteTrie user_defined_;
};

}  // namespace

std::unique_ptr<Normalizer> make_sentence_piece_normalizer(CharsMap map, SentencePieceSpaces spaces,
                                                           std::span<const std::string> user_defined) {
  return std::make_unique<SentencePieceNormalizer>(std::move(map), spaces, user_defined);
}

}  // namespace fledge::nn
