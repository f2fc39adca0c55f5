#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "train/data/shard.h"

namespace fledge::train {

/// The tokenizer that made the token ids of a data set. Two data sets fit the same model when these are equal.
struct TokenizerIdentity {
  std::string hash;             ///< of its vocabulary and rules; compared, never interpreted
  int64_t vocabulary_size = 0;  ///< every id is in [0, vocabulary_size)
  int32_t end_of_text_id = 0;   ///< ends every document
  bool operator==(const TokenizerIdentity&) const = default;
};

/// Sizes of one split ("train", "validation") of a data set.
struct SplitCounts {
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t text_bytes = 0;  ///< of the text behind the tokens: bits per byte need it
};

/// What `index.json` of a data set says. A data set is a folder with this index and the shards that it lists.
struct DataIndex {
  struct ShardEntry {
    std::string file;  ///< a plain name inside the folder
    int64_t bytes = 0, tokens = 0, documents = 0;
    uint32_t checksum = 0;  ///< the shard's own, which stands for its whole content
  };
  struct Split {
    SplitCounts counts;
    std::vector<ShardEntry> shards;
  };
  TokenizerIdentity tokenizer;
  std::vector<ColumnSpec> columns;
  std::map<std::string, Split> splits;

  /// Checks every field. Throws Error naming `origin`.
  static DataIndex parse(std::string_view text, std::string_view origin);
  std::string text() const;
};

inline constexpr const char* kIndexFile = "index.json";
inline constexpr const char* kTrainSplit = "train";
inline constexpr const char* kValidationSplit = "validation";

/// Writes the shards of a token data set and then its index, into a folder that exists. Memory is bounded by
/// `shard_bytes` per split. Columns: `ids` (u16 where the vocabulary fits, i32 otherwise) and `document_starts`
/// (i64: positions in this shard's ids where a document begins; a document may go on in the next shard).
class TokenDataWriter {
 public:
  TokenDataWriter(base::filesystem::path folder, TokenizerIdentity tokenizer, size_t shard_bytes);

  /// The next token of the split begins a document.
  void begin_document(const std::string& split);
  /// Adds tokens. Throws Error for an id outside the vocabulary.
  void append(const std::string& split, std::span<const int32_t> ids);
  void add_text_bytes(const std::string& split, int64_t bytes);
  /// Writes what is left and the index. Returns what was written.
  DataIndex finish();

 private:
  struct OpenSplit {
    explicit OpenSplit(const std::vector<ColumnSpec>& columns) : shard(columns) {}
    ShardWriter shard;
    int64_t tokens = 0, documents = 0;  // in the open shard
  };
  OpenSplit& open_split(const std::string& split);
  void cut_shard(const std::string& split, OpenSplit& open);

  base::filesystem::path folder_;
  size_t shard_bytes_;
  DataIndex index_;
  std::map<std::string, OpenSplit> open_;
};

/// One split of an opened data set: all its shards as one row of tokens. Safe to read from several threads.
class TokenSplit {
 public:
  /// `shards` follow each other; `name` and `folder` name the split in errors.
  TokenSplit(std::vector<Shard> shards, SplitCounts counts, int64_t vocabulary_size, std::string name);

  int64_t tokens() const { return counts_.tokens; }
  const SplitCounts& counts() const { return counts_; }
  /// "FOLDER, split train", for messages.
  const std::string& name() const { return name_; }

  /// Copies tokens [first, first + ids.size()). Every id is checked against the vocabulary on the way: throws Error
  /// naming the shard and the place. Throws Error where the range is outside the split.
  void read(int64_t first, std::span<int32_t> ids) const;
  /// For every token of [first, first + starts.size()): where its document begins, counted from `first`; 0 where it
  /// began before.
  void read_document_starts(int64_t first, std::span<int32_t> starts) const;
  /// Reads every byte: checksums and all ids.
  void verify() const;

 private:
  struct Part {
    Shard shard;
    int64_t first = 0, tokens = 0;
    std::span<const uint16_t> narrow_ids;  // one of the two is used
    std::span<const int32_t> wide_ids;
    std::span<const int64_t> document_starts;
  };
  void require_range(int64_t first, size_t count) const;
  size_t part_of(int64_t token) const;
  void read_part(const Part& part, int64_t first, std::span<int32_t> ids) const;

  std::vector<Part> parts_;
  SplitCounts counts_;
  int64_t vocabulary_size_;
  std::string name_;
};

/// A token data set that was opened. Copies share the mapped files.
class TokenData {
 public:
  /// Throws Error where the folder is not a data set, or a shard is missing, cut short, damaged or not the one that the
  /// index lists.
  static TokenData open(const base::filesystem::path& folder);

  const DataIndex& index() const { return index_; }
  const TokenizerIdentity& tokenizer() const { return index_.tokenizer; }
  bool has_split(const std::string& name) const { return splits_.contains(name); }
  /// Throws Error naming the folder where there is no such split.
  const TokenSplit& split(const std::string& name) const;

 private:
  base::filesystem::path folder_;
  DataIndex index_;
  std::map<std::string, std::shared_ptr<const TokenSplit>> splits_;
};

}  // namespace fledge::train
