#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/added_tokens.h"
#include "nn/text/normalizer.h"
#include "nn/text/piece_counter.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/tokenizer.h"

namespace fledge::nn {

struct TokenizerTrainingProgress {
  enum class Phase {
    kCounting,  ///< `done`: bytes of text counted so far; `total`: bytes of the text that is being added
    kMerging,   ///< `done`: tokens of the vocabulary so far; `total`: its size; tokens may run out before
    kPruning    ///< `done`: candidates that are left; `total`: the vocabulary size, towards which they fall
  };
  Phase phase;
  int64_t done;
  int64_t total;
};

/// How a trainer reads texts before it counts their pieces.
struct TextReading {
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<Normalizer> normalizer;  ///< null: text stays as it is
  bool normalize_to_nfc = false;           ///< instead of `normalizer`
  /// Bytes that are not UTF-8 are pieces of their own; without it they are read as U+FFFD.
  bool keeps_invalid_bytes = false;
  /// A text may be cut behind any line feed without another result.
  bool cuts_at_lines = false;
};

/// What the trainers of all kinds share: texts in, the pieces of all of them counted. The names of special tokens are
/// cut out of the text, so that nothing is learned from them.
class TokenizerTrainer {
 public:
  virtual ~TokenizerTrainer() = default;

  /// What is split on its own: a whole text, or each of its lines with its line feed (as Hugging Face reads files).
  enum class Unit { kText, kLine };

  /// Counts the pieces of one more text. Uses all threads.
  void add_text(std::string_view text, Unit unit = Unit::kText);

  /// The same for a file, which is mapped and not held in memory.
  void add_file(const std::filesystem::path& path, Unit unit = Unit::kText);

  /// Learns from the texts so far. Throws base::Error where they are empty.
  virtual Tokenizer train() = 0;

 protected:
  using Progress = std::function<void(const TokenizerTrainingProgress&)>;

  /// Throws base::UsageError for a special token that is empty, repeated or not UTF-8.
  TokenizerTrainer(TextReading reading, std::vector<std::string> special_tokens, Progress progress);

  /// The counts of all texts. Throws base::Error where there are none; `kind` names the trainer in it.
  const PieceCounter& gather_counts(std::string_view kind);

 private:
  void count_part(std::string_view text, Unit unit, PieceCounter& counter) const;
  void count_document(std::string_view text, PieceCounter& counter) const;

  TextReading reading_;
  AddedTokenMatcher special_matcher_;
  bool special_is_in_line_;  // no special token holds a line feed
  Progress progress_;
  std::vector<PieceCounter> counters_;  // one for each thread
};

/// Special tokens with the ids from `first_id` on, in their order.
std::vector<AddedToken> make_special_tokens(const std::vector<std::string>& contents, int32_t first_id = 0);

/// How many characters a trainer takes into its vocabulary: the most frequent ones of all that occur. Returns them in
/// the order of their code points; of equally frequent ones the lower come first.
std::vector<char32_t> frequent_characters(const PieceCounter& counts, size_t most);

/// tokenizer_config.json of a tokenizer whose special tokens have these roles ("cls_token": "[CLS]", ...).
base::Json special_token_config(const std::vector<AddedToken>& tokens,
                                const std::vector<std::pair<std::string, std::string>>& roles);

}  // namespace fledge::nn
