#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/tokenizer.h"

namespace fledge::nn {

/// The tokens that an encoder's texts are set in.
struct EncoderTokens {
  int32_t begin = 0, separator = 0, padding = 0;  ///< [CLS], [SEP], [PAD]
};

/// Texts side by side in one row, each with its own positions and seen by itself alone: what an encoder reads of a
/// batch without padding.
class EncoderRow {
 public:
  explicit EncoderRow(EncoderTokens tokens) : tokens_(tokens) {}

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  /// [CLS] text [SEP]
  void add(std::span<const int32_t> text);
  /// [CLS] first [SEP] second [SEP], the second one in the second segment.
  void add_pair(std::span<const int32_t> first, std::span<const int32_t> second);
  /// Tokens as they are, as one text.
  void add_whole(std::span<const int32_t> text, std::span<const int32_t> segments = {});
  /// Padding up to `length`, as a text of its own. Does nothing where the row is full.
  void pad(int64_t length);

  /// One entry for each token: its id, segment, place in its text, and where in the row its text begins and ends.
  std::vector<int32_t> ids, segments, positions, starts, ends;
  /// One entry for each token: an ordinary one, not [CLS], [SEP] or [PAD].
  std::vector<bool> ordinary;
  int64_t texts = 0;  ///< with the one of padding

 private:
  void append(int32_t id, int32_t segment, bool is_ordinary);
  void finish_text(int64_t begin);

  EncoderTokens tokens_;
};

/// [CLS], [SEP] and [PAD] of a tokenizer (one without padding pads with its separator). Throws Error naming `origin`
/// where it lacks one of the first two.
EncoderTokens encoder_tokens(const Tokenizer& tokenizer, std::string_view origin);

/// A text as an encoder reads it, its special tokens around it.
struct EncoderText {
  std::vector<int32_t> ids, segments;
  std::vector<int32_t> words;  ///< of encode_words(): the place of each word's first token, -1 where it has none
  int64_t dropped = 0;         ///< tokens that did not fit
};

/// A text, or with `second` a pair, of at most `longest` tokens: of a pair the longer text gives first. Names of
/// special tokens in the texts are ordinary characters.
EncoderText encode_text(const Tokenizer& tokenizer, const EncoderTokens& special, std::string_view first,
                        const std::string* second, int64_t longest);

/// Words, each encoded by itself.
EncoderText encode_words(const Tokenizer& tokenizer, const EncoderTokens& special, std::span<const std::string> words,
                         int64_t longest);

}  // namespace fledge::nn
