#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/data/chat_example.h"
#include "train/data/json_records.h"

namespace fledge::train {

struct ChatReadOptions {
  ChatPurpose purpose = ChatPurpose::conversations;
  bool strict = false;  ///< a record that cannot be used stops the reading
};

/// What was met while reading.
struct ChatReadReport {
  std::optional<ChatFormat> format;
  int64_t records = 0;                    ///< all, the unusable ones too
  int64_t broken = 0;                     ///< skipped: not JSON, another form, roles out of order, ...
  int64_t equal_answers = 0;              ///< preferences whose two answers are the same; skipped
  int64_t unanswered_ends = 0;            ///< conversations that were cut behind their last answer
  std::vector<std::string> first_faults;  ///< a sentence with file and line for each of the first few broken records
};

class InputFile;

/// Reads the examples of a chat file one by one: JSON lines or one JSON array (also compressed, .gz), of a form that it
/// recognizes by itself. A record that cannot be used is skipped, counted and described; memory holds one record.
class ChatReader {
 public:
  /// Throws Error where the file cannot be read.
  ChatReader(const std::filesystem::path& path, const ChatReadOptions& options);
  /// The same of any bytes; `append` appends the next ones and returns false at the end.
  ChatReader(std::function<bool(std::string&)> append, std::string origin, const ChatReadOptions& options);
  ~ChatReader();

  /// The next example, or false at the end. With `strict`, and where no record at all could be used, throws Error with
  /// the line.
  bool next(ChatExample& example);
  /// Line of the last record.
  int64_t line() const { return records_->line(); }
  /// "FILE, line N", for messages about the last record.
  std::string place() const;
  const ChatReadReport& report() const { return report_; }
  /// Bytes of the file on disk consumed so far; 0 where there is none.
  int64_t bytes_read() const;

 private:
  bool read_record(ChatExample& example);
  void skip(const std::string& sentence);

  std::unique_ptr<InputFile> file_;
  std::unique_ptr<JsonRecords> records_;
  std::string origin_, text_;
  ChatReadOptions options_;
  ChatReadReport report_;
  std::optional<ChatExample> waiting_;  ///< the second half of a preference that is read as two judgements
};

}  // namespace fledge::train
