#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

#include "base/json_fwd.h"

struct sqlite3;

namespace fledge::serve {

/// Chats that the server keeps, in SQLite. A chat's messages are a tree: each names the message before it, and editing
/// or asking again makes another branch. Any thread; one works at a time.
///
/// Everything goes in and out as the JSON of the HTTP interface (docs/server.md). Methods throw ApiError (404 for what
/// is not there, 400 for wrong fields) or base::Error where the file fails.
class ChatStore {
 public:
  /// Opens or makes the file, brings an older version of it up to date and refuses a newer one.
  explicit ChatStore(const std::filesystem::path& file);
  ~ChatStore();
  ChatStore(const ChatStore&) = delete;
  ChatStore& operator=(const ChatStore&) = delete;

  base::OrderedJson list();
  base::OrderedJson create(const base::OrderedJson& fields);
  /// The chat with all its messages, older ones first.
  base::OrderedJson read(const std::string& chat);
  base::OrderedJson update(const std::string& chat, const base::OrderedJson& fields);
  void remove(const std::string& chat);

  base::OrderedJson add_message(const std::string& chat, const base::OrderedJson& fields);
  base::OrderedJson update_message(const std::string& chat, const std::string& message,
                                   const base::OrderedJson& fields);
  /// Removes a message and everything that follows it.
  void remove_message(const std::string& chat, const std::string& message);

  static constexpr int kVersion = 1;

 private:
  class Statement;
  class Transaction;
  void execute(const char* sql);
  void migrate();
  base::OrderedJson chat_row(const std::string& chat);
  base::OrderedJson message_row(const std::string& chat, const std::string& message);
  void require_message(const std::string& chat, const std::string& message, const char* field);
  void touch(const std::string& chat);

  std::mutex mutex_;
  std::filesystem::path file_;
  sqlite3* database_ = nullptr;
};

}  // namespace fledge::serve
