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
  /// How keys are looked up.
  enum class Mode {
    kLongest,    ///< SentencePiece: at each place the longest key that begins there.
    kGraphemes,  ///< Hugging Face: whole grapheme clusters of up to 5 bytes, else characters; the shortest key counts.
  };

  /// Four bytes for the size of the trie, the trie, the blob. An empty text changes nothing. Throws base::Error naming
  /// `origin` where the sizes do not fit.
  CharsMap(std::string_view bytes, std::string_view origin);

  bool empty() const { return units_.empty(); }

  /// Appends `text`, valid UTF-8, with its replacements made.
  void append(std::string_view text, Mode mode, std::string& result) const;

 private:
  struct Match {
    size_t length;
    std::string_view replacement;
  };
  /// A key that begins `text`: the longest or the shortest.
  std::optional<Match> find(std::string_view text, bool longest) const;
  void append_longest(std::string_view text, std::string& result) const;
  void append_cluster(std::string_view cluster, std::string& result) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace fledge::nn
