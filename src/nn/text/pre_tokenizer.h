#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::nn {

/// Receives the pieces of a text in order, many at a time. They are valid during the call.
class PieceSink {
 public:
  virtual ~PieceSink() = default;
  virtual void take(std::span<const std::string_view> pieces) = 0;
};

/// Gathers pieces and hands them to a sink in batches, so that the virtual call is paid once a batch.
class PieceBatch {
 public:
  explicit PieceBatch(PieceSink& sink) : sink_(sink) {}
  PieceBatch(const PieceBatch&) = delete;
  PieceBatch& operator=(const PieceBatch&) = delete;

  void add(const char* begin, const char* end) {
    pieces_[count_] = {begin, static_cast<size_t>(end - begin)};
    if (++count_ == kCapacity) flush();
  }

  void flush() {
    if (count_ > 0) sink_.take({pieces_, count_});
    count_ = 0;
  }

 private:
  static constexpr size_t kCapacity = 128;
  PieceSink& sink_;
  size_t count_ = 0;
  std::string_view pieces_[kCapacity];
};

/// Cuts text into the pieces inside which tokens are formed; no token crosses from one piece into the next. Together
/// they are the text without a gap, unless the kind says that it drops or rewrites something. Immutable after
/// construction, so that threads may share it.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  /// Splits `text`, which must be valid UTF-8. Throws base::Error where a regular expression cannot be run on it.
  virtual void split(std::string_view text, PieceSink& sink) const = 0;

  /// The same where it matters whether `text` stands at the very beginning of what is encoded.
  virtual void split_part(std::string_view text, bool /*begins_text*/, PieceSink& sink) const { split(text, sink); }

  /// Whether pieces may lie in memory of the splitter's own instead of in `text`.
  virtual bool rewrites() const { return false; }

  /// Whether a line feed between two visible ASCII characters always ends a piece, whatever stands around them. A long
  /// text may then be cut behind it and its parts split on their own.
  virtual bool breaks_after_lines() const { return false; }
};

/// The split patterns that have a scanner of their own.
enum class SplitPattern {
  kWhole,   ///< No split: the text is one piece.
  kGpt2,    ///< GPT-2, RoBERTa and most older byte-level BPE.
  kLlama3,  ///< Llama-3 and OpenAI's cl100k_base: digits in threes, contractions in any case.
  kQwen2,   ///< Qwen2: as kLlama3 with digits one by one.
};

/// The regular expression of a pattern as Hugging Face's files write it; empty for kWhole.
std::string_view split_regex(SplitPattern pattern);

/// The pattern of that name: "gpt2", "llama3", "cl100k" or "qwen2". Throws base::UsageError for another.
SplitPattern split_pattern_by_name(std::string_view name);

/// A hand-written scanner with the same result as the pattern's regular expression.
std::unique_ptr<PreTokenizer> make_scanner(SplitPattern pattern);

/// Isolates the matches of a regular expression (PCRE2 with JIT); text between two matches is a piece too. Where the
/// expression is one of the known patterns, their scanner. Throws base::Error naming `origin` for a bad expression.
std::unique_ptr<PreTokenizer> make_regex_splitter(const std::string& regex, std::string_view origin);

/// The same without looking for a scanner: what the scanners are tested against.
std::unique_ptr<PreTokenizer> make_pcre2_splitter(const std::string& regex, std::string_view origin);

/// What becomes of the matches of a Split and of what lies between them, by the names of Hugging Face.
enum class SplitBehavior { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };

/// A Split of tokenizer.json. With `invert`, what lies between the matches counts as the matches.
std::unique_ptr<PreTokenizer> make_match_splitter(const std::string& regex, SplitBehavior behavior, bool invert,
                                                  std::string_view origin);

/// Splits at single characters that have one of `properties` (CharacterProperty); every one is a match of its own.
std::unique_ptr<PreTokenizer> make_property_splitter(uint8_t properties, SplitBehavior behavior);

/// BERT's words: at white space, which is dropped, and around each punctuation character.
std::unique_ptr<PreTokenizer> make_bert_splitter();

/// SentencePiece's words: spaces become `replacement`, and each piece begins with it.
struct MetaspaceOptions {
  enum class Prepend { kAlways, kFirst, kNever };
  std::string replacement = "\u2581";
  Prepend prepend = Prepend::kAlways;  ///< kFirst: at the beginning of what is encoded alone
  bool split = true;                   ///< without it the text stays one piece
};
std::unique_ptr<PreTokenizer> make_metaspace_splitter(MetaspaceOptions options);

/// Puts a space in front of each piece that does not begin with one.
std::unique_ptr<PreTokenizer> make_space_prefixer();

/// Writes the bytes of each piece in the byte alphabet.
std::unique_ptr<PreTokenizer> make_byte_alphabet_writer();

/// Applies each splitter to the pieces of the one before it.
std::unique_ptr<PreTokenizer> make_sequence(std::vector<std::unique_ptr<PreTokenizer>> steps);

/// The pieces of a text as a list; for tests and tools.
std::vector<std::string> split_to_list(const PreTokenizer& pre_tokenizer, std::string_view text);

}  // namespace fledge::nn
