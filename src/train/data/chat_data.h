#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/data/chat_reader.h"
#include "train/data/chat_tokens.h"
#include "train/data/shard.h"

namespace fledge::train {

/// What index.json of prepared chats says.
struct ChatIndex {
  struct ShardEntry {
    std::string file;
    int64_t bytes = 0, examples = 0;
    uint32_t checksum = 0;
  };
  struct Split {
    int64_t examples = 0, tokens = 0, trained_tokens = 0;
    std::vector<ShardEntry> shards;
  };
  ChatPurpose purpose = ChatPurpose::conversations;
  std::string tokenizer_hash;
  int64_t vocabulary_size = 0;
  std::vector<int32_t> end_of_turn;  ///< tokens that end the assistant's turns
  std::map<std::string, Split> splits;
  std::vector<std::string> notes;  ///< what a user should know

  /// Token sequences of one example: a conversation; of a preference the chosen and the rejected one; of a judgement
  /// its own, and its question with the answer to another one, from which the divergence is estimated.
  int64_t sequences() const { return purpose == ChatPurpose::conversations ? 1 : 2; }
  static ChatIndex parse(std::string_view text, const std::string& origin);
  std::string text() const;
};

/// Writes the shards of prepared chats, and the index. Columns: `ids` and `trained`, a row for each sequence (of the
/// latter the begins and ends of the trained spans), and `labels`, one for each example (1 desirable, 0 undesirable, -1
/// neither). Memory is bounded by the size of a shard.
class ChatDataWriter {
 public:
  ChatDataWriter(std::filesystem::path folder, ChatIndex index, size_t shard_bytes);
  void append(const std::string& split, std::span<const ChatTokens> sequences, int32_t label);
  /// `notes` and `end_of_turn` become known on the way.
  ChatIndex finish(std::vector<std::string> notes, std::vector<int32_t> end_of_turn);

 private:
  struct OpenSplit {
    ShardWriter shard;
    int64_t examples = 0;
  };
  void cut_shard(const std::string& split, OpenSplit& open);
  std::vector<ColumnSpec> columns() const;

  std::filesystem::path folder_;
  ChatIndex index_;
  size_t shard_bytes_;
  std::map<std::string, OpenSplit> open_;
};

/// One split of prepared chats. Safe to read from several threads.
class ChatSplit {
 public:
  /// Throws Error where a row is not what prepared chats hold.
  ChatSplit(std::vector<Shard> shards, int64_t sequences_per_example, int64_t vocabulary_size);

  int64_t examples() const { return examples_; }
  /// Reads one sequence of an example; everything is checked. Throws Error where the file is damaged.
  ChatTokens read(int64_t example, int64_t sequence) const;
  /// The same without the ids, of which `length` receives the number.
  std::vector<TokenSpan> read_spans(int64_t example, int64_t sequence, int64_t& length) const;
  int32_t label(int64_t example) const;

 private:
  struct Part {
    Shard shard;
    int64_t first = 0, examples = 0;
    bool is_narrow = false;
  };
  const Part& part_of(int64_t example) const;
  static std::vector<TokenSpan> spans_of(const Part& part, int64_t row, int64_t length);

  std::vector<Part> parts_;
  int64_t sequences_, vocabulary_size_, examples_ = 0;
};

/// Prepared chats that were opened.
class ChatData {
 public:
  /// Throws Error where the folder holds no prepared chats, or a shard is missing or not the one that the index lists.
  static ChatData open(const std::filesystem::path& folder);

  const ChatIndex& index() const { return index_; }
  /// Null where there is no such split.
  const ChatSplit* split(const std::string& name) const;

 private:
  ChatIndex index_;
  std::map<std::string, std::shared_ptr<const ChatSplit>> splits_;
};

}  // namespace fledge::train
