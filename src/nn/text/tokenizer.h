#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nn/text/added_tokens.h"
#include "nn/text/decoder.h"
#include "nn/text/pre_tokenizer.h"

namespace fledge::nn {

struct TokenizerParts;

struct EncodeOptions {
  /// Add what the post-processor puts around a text, such as the token at the beginning of a text.
  bool add_special = false;
  /// Find special tokens in the text. Without it `<|endoftext|>` in a text is ordinary characters: for text that comes
  /// from strangers.
  bool match_special = true;
};

/// Text to token ids and back. A text is cut at added tokens; what lies between is normalized and split by the pattern,
/// and each piece becomes tokens of its own.
///
/// With byte-level BPE the inverse is exact on any bytes: decode(encode(text)) is `text`, unless the tokenizer
/// normalizes (NFC), puts a space in front, or an added token swallows white space. Bytes that are not valid UTF-8 are
/// pieces too: each longest run of such bytes is one, and the valid text on either side of it is split as a text of its
/// own. Other kinds (WordPiece, Unigram, BPE on characters) read such bytes as U+FFFD, and their decode() gives what
/// Hugging Face's does.
///
/// Immutable; all methods may be called from several threads at once.
class Tokenizer {
 public:
  explicit Tokenizer(TokenizerParts parts);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Reads a folder (tokenizer.json, or vocab.json with merges.txt, or tokenizer.model, or one *.tiktoken file;
  /// tokenizer_config.json) or one file (*.json, *.model or *.model.v1 and so on, *.tiktoken). A rank file does not
  /// hold its pattern: it is split as `rank_file_pattern` says. Throws base::Error in one sentence that names the file
  /// and what is wrong with it.
  static Tokenizer load(const std::filesystem::path& path, SplitPattern rank_file_pattern = SplitPattern::kGpt2);

  /// Writes tokenizer.json and tokenizer_config.json into `folder`, which is made where it is missing; each is replaced
  /// atomically.
  void save(const std::filesystem::path& folder) const;

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Appends to `ids`, whose memory is kept from call to call.
  void encode_to(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& ids) const;

  /// Each text on its own, in parallel over texts; the ids are those of encode().
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string_view> texts,
                                                 const EncodeOptions& options = {}) const;

  /// The text of the tokens. Throws base::Error for an id that is no token.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  /// The bytes of one token, as the vocabulary has them: other kinds than byte-level BPE mark words and spaces in them
  /// ("##ing", "\u2581the"), which decode() and StreamDecoder resolve. Throws base::Error for an id that is no token.
  std::string_view token_bytes(int32_t id) const;

  /// One more than the greatest id.
  int32_t vocabulary_size() const { return vocabulary_size_; }

  /// The token with these bytes: an added one of that name, or one of the vocabulary.
  std::optional<int32_t> token_id(std::string_view bytes) const;

  /// By rising id; special ones among them.
  const std::vector<AddedToken>& added_tokens() const;
  bool is_special(int32_t id) const;

  /// Tokens that tokenizer_config.json names, where it does.
  std::optional<int32_t> begin_token() const { return named_token("bos_token"); }
  std::optional<int32_t> end_token() const { return named_token("eos_token"); }
  std::optional<int32_t> padding_token() const { return named_token("pad_token"); }
  std::optional<int32_t> class_token() const { return named_token("cls_token"); }
  std::optional<int32_t> separator_token() const { return named_token("sep_token"); }
  std::optional<int32_t> mask_token() const { return named_token("mask_token"); }

  /// tokenizer_parts.h says what they are.
  const TokenizerParts& parts() const { return *parts_; }

 private:
  friend class StreamDecoder;
  class ScratchPool;
  class Encoder;

  const AddedToken* added(int32_t id) const;
  std::string_view decoder_input(int32_t id) const;
  std::optional<int32_t> named_token(const char* key) const;

  std::unique_ptr<const TokenizerParts> parts_;
  int32_t vocabulary_size_ = 0;
  std::unordered_map<int32_t, size_t> added_by_id_;
  std::unordered_map<int32_t, std::string> normalized_names_;  // of added tokens that `normalization` changes
  std::unique_ptr<AddedTokenMatcher> raw_matcher_, normalized_matcher_;
  std::unique_ptr<ScratchPool> pool_;
};

/// Decodes ids one by one, as a model makes them, without ever giving out half a character: bytes wait until their
/// UTF-8 character is whole, or can no longer become one. All that it gives out is together what decode() gives.
class StreamDecoder {
 public:
  /// Keeps a reference to the tokenizer.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);

  /// The text that became certain with this token.
  std::string push(int32_t id);

  /// What still waits; of byte-level BPE the bytes of an unfinished character, as they are. The decoder is then as new.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string waiting_;
  std::optional<Decoder::Stream> stream_;
};

}  // namespace fledge::nn
