#include "serve/chat_store.h"
#include "base/error.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include "serve/api_error.h"

namespace fledge::serve {
namespace {

using Json = base::OrderedJson;

class ChatStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("fledge_chats_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    open();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  void open() {
    store_.reset();
    store_ = std::make_unique<ChatStore>(folder_ / "chats.sqlite");
  }
  std::string add(const std::string& chat, const Json& parent, const std::string& content) {
    return store_->add_message(chat, {{"parent", parent}, {"role", "user"}, {"content", content}})["id"];
  }
  std::filesystem::path folder_;
  std::unique_ptr<ChatStore> store_;
};

TEST_F(ChatStoreTest, KeepsATreeOfMessagesAcrossRuns) {
  const std::string chat = store_->create({{"title", "T"}, {"settings", {{"temperature", 1}}}})["id"];
  const std::string first = add(chat, nullptr, "one");
  const std::string left = add(chat, first, std::string("t\0w\xc3\xb6", 5));
  const std::string right = add(chat, first, "other");
  open();
  Json read = store_->read(chat);
  EXPECT_EQ(read["settings"]["temperature"], 1);
  EXPECT_EQ(read["current_message"], right);
  ASSERT_EQ(read["messages"].size(), 3u);
  EXPECT_EQ(read["messages"][1]["id"], left);
  EXPECT_EQ(read["messages"][1]["parent"], first);
  EXPECT_EQ(read["messages"][1]["content"], std::string("t\0w\xc3\xb6", 5));
  EXPECT_EQ(store_->update(chat, {{"title", "New"}, {"current_message", left}})["current_message"], left);
  EXPECT_EQ(store_->update_message(chat, left, {{"content", "edited"}, {"data", {{"k", 1}}}})["data"]["k"], 1);
  EXPECT_EQ(store_->list()["chats"][0]["message_count"], 3);
  EXPECT_EQ(store_->list()["chats"][0]["title"], "New");
}

TEST_F(ChatStoreTest, RemovesWhatFollowsAMessageHoweverLongTheChain) {
  const std::string chat = store_->create(Json::object())["id"];
  const std::string root = add(chat, nullptr, "root");
  std::string last = root;
  for (int i = 0; i < 1500; ++i) last = add(chat, last, "x");
  const std::string second = store_->read(chat)["messages"][1]["id"];
  store_->remove_message(chat, second);
  EXPECT_EQ(store_->read(chat)["messages"].size(), 1u);
  EXPECT_EQ(store_->read(chat)["current_message"], root);
  for (int i = 0; i < 1500; ++i) last = add(chat, i == 0 ? root : last, "x");
  store_->remove(chat);
  EXPECT_EQ(store_->list()["chats"].size(), 0u);
}

TEST_F(ChatStoreTest, SaysWhatIsNotThere) {
  const std::string chat = store_->create(Json::object())["id"], other = store_->create(Json::object())["id"];
  const std::string message = add(other, nullptr, "x");
  const auto status = [](auto&& call) {
    try {
      call();
    } catch (const ApiError& error) {
      return error.status();
    }
    return 200;
  };
  EXPECT_EQ(status([&] { store_->read("nothing"); }), 404);
  EXPECT_EQ(status([&] { store_->remove("' OR 1=1 --"); }), 404);
  EXPECT_EQ(status([&] { add(chat, message, "a message of another chat"); }), 404);
  EXPECT_EQ(status([&] { store_->update(chat, {{"current_message", message}}); }), 404);
  EXPECT_EQ(status([&] { store_->add_message(chat, {{"role", "king"}, {"content", ""}}); }), 400);
  EXPECT_EQ(status([&] { store_->update(chat, {{"settings", 3}}); }), 400);
}

TEST_F(ChatStoreTest, RefusesAFileOfANewerVersion) {
  store_.reset();
  sqlite3* database = nullptr;
  sqlite3_open((folder_ / "chats.sqlite").c_str(), &database);
  sqlite3_exec(database, "PRAGMA user_version = 99", nullptr, nullptr, nullptr);
  sqlite3_close(database);
  EXPECT_THROW(open(), base::Error);
}

}  // namespace
}  // namespace fledge::serve
