#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::nn {

/// SentencePiece's precompiled character map (`precompiled_charsmap` of its normalizer): a double-array trie from byte
/// strings to places in a blob of replacements that end in zero bytes (Kudo and Richardson, "SentencePiece", 2018,
/// section 3.2; the array's layout is that of the Darts-clone library).
class CharsMap {
 public:
  /// Four bytes for the size of the trie, the trie, the blob. An empty text changes nothing. Throws base::Error naming
  /// `origin` where the sizes do not fit.
  CharsMap(std::string_view bytes, std::string_view origin);

  bool empty() const { return units_.empty(); }

  struct Match {
    size_t length;
    std::string_view replacement;
  };
  /// The longest key that begins `text`, or nothing.
  std::optional<Match> find_longest(std::string_view text) const { return empty() ? std::nullopt : find(text, true); }

  /// Appends `text`, valid UTF-8, with the replacements that Hugging Face makes: of whole grapheme clusters of up to 5
  /// bytes, else of characters, and of the keys that begin them the shortest counts. SentencePiece itself takes the
  /// longest key at each place.
  void append_by_cluster(std::string_view text, std::string& result) const;

 private:
  /// A key that begins `text`: the longest or the shortest.
  std::optional<Match> find(std::string_view text, bool longest) const;
  void append_cluster(std::string_view cluster, std::string& result) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace fledge::nn
