#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fledge::nn {

/// A token that is found in the text itself, before the text is split: a special token such as `<|endoftext|>`, or a
/// word that was added to a vocabulary. The flags are those of Hugging Face's tokenizer.json.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no letter, digit or mark touches it
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< takes the white space after it along
  bool normalized = false;   ///< is looked for after normalization
  bool special = false;      ///< steers a model and is no text: can be left out when decoding
};

/// Finds tokens of a list in texts: the leftmost match, and the longest one that begins there.
class AddedTokenMatcher {
 public:
  /// The tokens are copied; an empty content is ignored.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  /// Calls plain(text) and token(added) for the parts of `text` in order. With `match_special` false, special tokens
  /// are ordinary text. Empty parts are left out.
  template <typename Plain, typename Token>
  void split(std::string_view text, bool match_special, const Plain& plain, const Token& token) const {
    size_t done = 0, from = 0;
    while (const auto match = next_match(text, from)) {
      from = match->end;
      if ((match->token->special && !match_special) || !stands_alone(text, *match)) continue;
      const auto [begin, end] = with_stripped_space(text, *match, done);
      if (begin > done) plain(text.substr(done, begin - done));
      token(*match->token);
      done = end;
      from = std::max(from, done);
    }
    if (done < text.size()) plain(text.substr(done));
  }

 private:
  struct Match {
    size_t begin, end;
    const AddedToken* token;
  };
  struct Node {
    std::vector<std::pair<uint8_t, int32_t>> children;  // by byte, rising
    int32_t token = -1;
  };

  std::optional<Match> next_match(std::string_view text, size_t from) const;
  size_t next_candidate(std::string_view text, size_t from) const;
  int32_t child(int32_t node, uint8_t byte) const;
  static bool stands_alone(std::string_view text, const Match& match);
  static std::pair<size_t, size_t> with_stripped_space(std::string_view text, const Match& match, size_t done);

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  bool begins_token_[256] = {};
  int first_bytes_ = 0;  // how many bytes begin a token
  uint8_t only_first_byte_ = 0;
};

}  // namespace fledge::nn
