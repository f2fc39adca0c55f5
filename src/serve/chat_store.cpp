#include "serve/chat_store.h"

#include <sqlite3.h>

#include <chrono>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "serve/json_fields.h"
#include "serve/text_run.h"

namespace fledge::serve {
namespace {

constexpr const char* kSchema = R"sql(
  CREATE TABLE chats (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    current_message TEXT, settings TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE messages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, chat TEXT NOT NULL REFERENCES chats(id) ON DELETE CASCADE,
    parent TEXT REFERENCES messages(id) DEFERRABLE INITIALLY DEFERRED, role TEXT NOT NULL, content TEXT NOT NULL,
    data TEXT NOT NULL, created INTEGER NOT NULL);
  CREATE INDEX messages_of_chat ON messages(chat, number);
  CREATE INDEX messages_of_parent ON messages(parent);
  PRAGMA user_version = 1;
)sql";

/// Milliseconds since 1970.
int64_t now() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::string object_text(JsonFields& fields, const char* key) {
  const base::OrderedJson* value = fields.find(key);
  if (value == nullptr) return "{}";
  if (!value->is_object()) fields.fail(key, "an object");
  return to_text(*value);
}

std::string title_of(JsonFields& fields) {
  std::string title = fields.text("title").value_or("");
  if (title.size() > 1000) fields.fail("title", "at most 1000 bytes");
  return title;
}

}  // namespace

/// A prepared statement with its values.
class ChatStore::Statement {
 public:
  Statement(ChatStore& store, const char* sql) : store_(store) {
    check(sqlite3_prepare_v2(store.database_, sql, -1, &statement_, nullptr));
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text) {
    check(sqlite3_bind_text64(statement_, ++bound_, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
    return *this;
  }
  Statement& bind(const std::optional<std::string>& text) {
    if (text) return bind(*text);
    check(sqlite3_bind_null(statement_, ++bound_));
    return *this;
  }
  Statement& bind(int64_t value) {
    check(sqlite3_bind_int64(statement_, ++bound_, value));
    return *this;
  }
  /// Moves to the next row; false at the end.
  bool next() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) check(code);
    return code == SQLITE_ROW;
  }
  void run() {
    while (next()) {
    }
  }
  std::string text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return bytes == nullptr ? "" : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
  }
  base::OrderedJson text_or_null(int column) const {
    if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return nullptr;
    return text(column);
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  base::OrderedJson json(int column) const { return base::parse_ordered_json(text(column), store_.file_.string()); }

 private:
  void check(int code) const {
    if (code != SQLITE_OK) throw base::Error("{}: {}", store_.file_.string(), sqlite3_errmsg(store_.database_));
  }
  ChatStore& store_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

/// Several changes or none.
class ChatStore::Transaction {
 public:
  explicit Transaction(ChatStore& store) : store_(store) { store.execute("BEGIN IMMEDIATE"); }
  ~Transaction() {
    if (!done_) sqlite3_exec(store_.database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  void commit() {
    store_.execute("COMMIT");
    done_ = true;
  }

 private:
  ChatStore& store_;
  bool done_ = false;
};

ChatStore::ChatStore(const std::filesystem::path& file) : file_(file) {
  if (!file.parent_path().empty()) base::create_folder(file.parent_path());
  if (sqlite3_open(file.c_str(), &database_) != SQLITE_OK) {
    const std::string reason = database_ == nullptr ? "out of memory" : sqlite3_errmsg(database_);
    sqlite3_close(database_);
    throw base::Error("{}: {}", file.string(), reason);
  }
  try {
    sqlite3_busy_timeout(database_, 5000);
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = NORMAL");
    execute("PRAGMA foreign_keys = ON");
    migrate();
    // Nobody else needs to read what was said.
    std::error_code ignored;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
                                 ignored);
  } catch (...) {
    sqlite3_close(database_);
    throw;
  }
}

ChatStore::~ChatStore() {
  sqlite3_close(database_);
}

void ChatStore::execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    throw base::Error("{}: {}", file_.string(), sqlite3_errmsg(database_));
  }
}

void ChatStore::migrate() {
  Transaction transaction(*this);
  Statement version(*this, "PRAGMA user_version");
  version.next();
  const int64_t found = version.integer(0);
  version.run();
  if (found > kVersion) {
    throw base::Error("{}: written by a newer fledge (version {} of its tables, this one knows {}); update fledge",
                      file_.string(), found, kVersion);
  }
  if (found == 0) execute(kSchema);
  transaction.commit();
}

base::OrderedJson ChatStore::list() {
  const std::lock_guard lock(mutex_);
  Statement rows(*this,
                 "SELECT id, title, model, created, updated, (SELECT count(*) FROM messages WHERE chat = chats.id) "
                 "FROM chats ORDER BY updated DESC, id");
  base::OrderedJson chats = base::OrderedJson::array();
  while (rows.next()) {
    chats.push_back({{"id", rows.text(0)},
                     {"title", rows.text(1)},
                     {"model", rows.text(2)},
                     {"created", rows.integer(3)},
                     {"updated", rows.integer(4)},
                     {"message_count", rows.integer(5)}});
  }
  return {{"chats", std::move(chats)}};
}

base::OrderedJson ChatStore::chat_row(const std::string& chat) {
  Statement row(*this, "SELECT id, title, model, created, updated, current_message, settings FROM chats WHERE id = ?");
  if (!row.bind(chat).next()) throw ApiError(404, "there is no such chat", "id", "chat_not_found");
  return {{"id", row.text(0)},         {"title", row.text(1)},      {"model", row.text(2)},
          {"created", row.integer(3)}, {"updated", row.integer(4)}, {"current_message", row.text_or_null(5)},
          {"settings", row.json(6)}};
}

base::OrderedJson ChatStore::create(const base::OrderedJson& object) {
  JsonFields fields(object);
  const std::string title = title_of(fields), model = fields.text("model").value_or("");
  const std::string settings = object_text(fields, "settings"), id = random_id("chat_");
  const std::lock_guard lock(mutex_);
  const int64_t time = now();
  Statement(*this, "INSERT INTO chats VALUES (?, ?, ?, ?, ?, NULL, ?)")
      .bind(id)
      .bind(title)
      .bind(model)
      .bind(time)
      .bind(time)
      .bind(settings)
      .run();
  return chat_row(id);
}

base::OrderedJson ChatStore::read(const std::string& chat) {
  const std::lock_guard lock(mutex_);
  base::OrderedJson result = chat_row(chat);
  Statement rows(*this, "SELECT id, parent, role, content, data, created FROM messages WHERE chat = ? ORDER BY number");
  rows.bind(chat);
  base::OrderedJson messages = base::OrderedJson::array();
  while (rows.next()) {
    messages.push_back({{"id", rows.text(0)},
                        {"parent", rows.text_or_null(1)},
                        {"role", rows.text(2)},
                        {"content", rows.text(3)},
                        {"data", rows.json(4)},
                        {"created", rows.integer(5)}});
  }
  result["messages"] = std::move(messages);
  return result;
}

void ChatStore::require_message(const std::string& chat, const std::string& message, const char* field) {
  Statement row(*this, "SELECT 1 FROM messages WHERE chat = ? AND id = ?");
  if (!row.bind(chat).bind(message).next()) {
    throw ApiError(404, "there is no such message in this chat", field, "message_not_found");
  }
}

void ChatStore::touch(const std::string& chat) {
  Statement(*this, "UPDATE chats SET updated = ? WHERE id = ?").bind(now()).bind(chat).run();
}

base::OrderedJson ChatStore::update(const std::string& chat, const base::OrderedJson& object) {
  JsonFields fields(object);
  const std::lock_guard lock(mutex_);
  Transaction transaction(*this);
  chat_row(chat);
  if (fields.has("title")) {
    Statement(*this, "UPDATE chats SET title = ? WHERE id = ?").bind(title_of(fields)).bind(chat).run();
  }
  if (const auto model = fields.text("model")) {
    Statement(*this, "UPDATE chats SET model = ? WHERE id = ?").bind(*model).bind(chat).run();
  }
  if (fields.has("settings")) {
    Statement(*this, "UPDATE chats SET settings = ? WHERE id = ?")
        .bind(object_text(fields, "settings"))
        .bind(chat)
        .run();
  }
  if (object.contains("current_message")) {
    const auto current = fields.text("current_message");
    if (current) require_message(chat, *current, "current_message");
    Statement(*this, "UPDATE chats SET current_message = ? WHERE id = ?").bind(current).bind(chat).run();
  }
  touch(chat);
  transaction.commit();
  return chat_row(chat);
}

void ChatStore::remove(const std::string& chat) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(*this);
  chat_row(chat);
  Statement(*this, "DELETE FROM chats WHERE id = ?").bind(chat).run();
  transaction.commit();
}

base::OrderedJson ChatStore::message_row(const std::string& chat, const std::string& message) {
  Statement row(*this, "SELECT id, parent, role, content, data, created FROM messages WHERE chat = ? AND id = ?");
  if (!row.bind(chat).bind(message).next()) {
    throw ApiError(404, "there is no such message in this chat", "id", "message_not_found");
  }
  return {{"id", row.text(0)},      {"parent", row.text_or_null(1)}, {"role", row.text(2)},
          {"content", row.text(3)}, {"data", row.json(4)},           {"created", row.integer(5)}};
}

base::OrderedJson ChatStore::add_message(const std::string& chat, const base::OrderedJson& object) {
  JsonFields fields(object);
  const std::string role = fields.required_text("role"), content = fields.required_text("content");
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    fields.fail("role", "\"system\", \"user\", \"assistant\" or \"tool\"");
  }
  const auto parent = fields.text("parent");
  const std::string data = object_text(fields, "data"), id = random_id("msg_");
  const std::lock_guard lock(mutex_);
  Transaction transaction(*this);
  chat_row(chat);
  if (parent) require_message(chat, *parent, "parent");
  Statement(*this, "INSERT INTO messages (id, chat, parent, role, content, data, created) VALUES (?, ?, ?, ?, ?, ?, ?)")
      .bind(id)
      .bind(chat)
      .bind(parent)
      .bind(role)
      .bind(content)
      .bind(data)
      .bind(now())
      .run();
  Statement(*this, "UPDATE chats SET current_message = ? WHERE id = ?").bind(id).bind(chat).run();
  touch(chat);
  transaction.commit();
  return message_row(chat, id);
}

base::OrderedJson ChatStore::update_message(const std::string& chat, const std::string& message,
                                            const base::OrderedJson& object) {
  JsonFields fields(object);
  const std::lock_guard lock(mutex_);
  Transaction transaction(*this);
  message_row(chat, message);
  if (const auto content = fields.text("content")) {
    Statement(*this, "UPDATE messages SET content = ? WHERE id = ?").bind(*content).bind(message).run();
  }
  if (fields.has("data")) {
    Statement(*this, "UPDATE messages SET data = ? WHERE id = ?").bind(object_text(fields, "data")).bind(message).run();
  }
  touch(chat);
  transaction.commit();
  return message_row(chat, message);
}

void ChatStore::remove_message(const std::string& chat, const std::string& message) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(*this);
  const base::OrderedJson removed = message_row(chat, message);
  std::optional<std::string> parent;
  if (removed["parent"].is_string()) parent = removed["parent"].get<std::string>();
  Statement(
      *this,
      "WITH RECURSIVE gone(id) AS (SELECT ? UNION ALL SELECT messages.id FROM messages JOIN gone ON parent = gone.id) "
      "DELETE FROM messages WHERE id IN (SELECT id FROM gone)")
      .bind(message)
      .run();
  Statement(*this,
            "UPDATE chats SET current_message = ? WHERE id = ? AND current_message NOT IN (SELECT id FROM messages)")
      .bind(parent)
      .bind(chat)
      .run();
  touch(chat);
  transaction.commit();
}

}  // namespace fledge::serve
