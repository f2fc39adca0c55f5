#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/added_tokens.h"
#include "nn/text/piece_counter.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/tokenizer.h"

namespace fledge::nn {

struct BpeTrainingProgress {
  enum class Phase { kCounting, kMerging };
  Phase phase;
  int64_t done;   ///< bytes of text counted so far, or tokens of the vocabulary so far
  int64_t total;  ///< bytes of the text that is being added, or the vocabulary size; tokens may run out before
};

struct BpeTrainingOptions {
  /// With the special tokens and the 256 bytes. Fewer come out where the text has no more pairs.
  int32_t vocabulary_size = 32000;
  SplitPattern pattern = SplitPattern::kGpt2;
  bool normalize_to_nfc = false;
  /// A pair that is seen fewer times is not merged.
  int64_t min_frequency = 2;
  /// They get the first ids, in this order.
  std::vector<std::string> special_tokens = {"<|endoftext|>"};
  /// Called on the caller's thread now and then; may throw to stop.
  std::function<void(const BpeTrainingProgress&)> progress;
};

/// Trains byte-level BPE: counts the pieces of texts, then merges the most frequent pair of neighbours until the
/// vocabulary is full (Sennrich et al., 2016, algorithm 1). The merges and ids are those of Hugging Face's BpeTrainer
/// with the same options, a ByteLevel alphabet and the same texts; of pairs that are equally frequent, the one of lower
/// ids comes first. One difference: the text of a special token is cut out, where theirs would be learned from.
class BpeTrainer {
 public:
  /// Throws base::UsageError where the vocabulary has no room for the bytes and the special tokens.
  explicit BpeTrainer(BpeTrainingOptions options);

  /// What is split on its own: a whole text, or each of its lines with its line feed (as Hugging Face reads files).
  enum class Unit { kText, kLine };

  /// Counts the pieces of one more text. Uses all threads.
  void add_text(std::string_view text, Unit unit = Unit::kText);

  /// The same for a file, which is mapped and not held in memory.
  void add_file(const std::filesystem::path& path, Unit unit = Unit::kText);

  /// Learns the merges from the texts so far. Throws base::Error where they are empty.
  Tokenizer train();

 private:
  void count_part(std::string_view text, Unit unit, PieceCounter& counter) const;
  void count_document(std::string_view text, PieceCounter& counter) const;
  PieceCounter& gather_counts();

  BpeTrainingOptions options_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  AddedTokenMatcher special_matcher_;
  std::vector<PieceCounter> counters_;  // one for each thread
};

}  // namespace fledge::nn
