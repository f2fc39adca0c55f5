#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "train/data/documents.h"
#include "train/data/token_data.h"

namespace fledge::train {

/// What preparing needs of a tokenizer.
struct DocumentTokenizer {
  TokenizerIdentity identity;
  /// Appends the token ids of a text. Called from several threads at once.
  std::function<void(std::string_view text, std::vector<int32_t>& ids)> encode;
  /// The tokens of two lines are those of the first one and those of the second one (see piece_end()). Where they are
  /// not, documents are tokenized whole and must fit in memory.
  bool splits_at_lines = true;
};

struct PrepareProgress {
  int64_t bytes_done = 0, bytes_total = 0;  ///< of the input files
  int64_t tokens = 0, documents = 0;
};

struct PrepareOptions {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path out;
  /// Share of the text that is held out, 0 to 0.5. With at least kManyDocuments documents, one document of every
  /// 1 / fraction in a row is drawn, always the same ones; with fewer, the last part of each document is taken.
  double validation_fraction = 0.05;
  DocumentOptions documents;
  size_t shard_bytes = size_t{64} << 20;
  /// Text that is tokenized at once by all threads.
  size_t batch_bytes = size_t{16} << 20;
  /// Called now and then from the calling thread; may throw to stop, which leaves nothing behind.
  std::function<void(const PrepareProgress&)> progress;
};

inline constexpr int64_t kManyDocuments = 100;

/// Tokenizes text and JSONL files into a data set folder, atomically: the folder appears when it is whole, and an older
/// data set there is replaced then. Every document ends with the end-of-text token (of a document that is divided, both
/// parts do). Memory is bounded by the batch and the shards, whatever the size of the files and documents. The same
/// inputs, tokenizer and options give the same bytes on any number of threads. Throws UsageError for options out of
/// range; Error for inputs without text, an output folder that holds something else, and whatever the reader or the
/// tokenizer throws.
DataIndex prepare_data(const PrepareOptions& options, const DocumentTokenizer& tokenizer);

/// Whether document number `document` (counted over all inputs) is held out where there are many.
bool is_validation_document(int64_t document, double fraction);

}  // namespace fledge::train
