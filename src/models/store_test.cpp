#include "models/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"

namespace fledge::models {
namespace {

namespace filesystem = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  StoreTest() : root_(filesystem::path(testing::TempDir()) / ("fledge-store-" + std::to_string(::getpid()))) {
    ::setenv("XDG_DATA_HOME", root_.c_str(), 1);
    ::setenv("HF_HUB_CACHE", (root_ / "hub").c_str(), 1);
  }
  ~StoreTest() override {
    ::unsetenv("XDG_DATA_HOME");
    ::unsetenv("HF_HUB_CACHE");
    std::error_code ignored;
    filesystem::remove_all(root_, ignored);
  }
  void make(const filesystem::path& folder, const std::string& file, const std::string& content) const {
    base::create_folder(root_ / folder);
    base::write_file(root_ / folder / file, content);
  }
  filesystem::path root_;
};

TEST_F(StoreTest, ListsWhatIsThereAndSurvivesDamagedFiles) {
  make("fledge/models/tiny", "config.json", R"({"model_type": "bert"})");
  make("fledge/models/owner/name", "config.json", "damaged");
  make("fledge/models/chat", "a.gguf", "GGUF");
  make("fledge/models/.work-x", "config.json", "{}");
  make("fledge/models/empty", "readme", "nothing");
  write_source(root_ / "fledge/models/tiny", "PyPI package x 1", "", "MIT");
  const std::vector<StoredModel> models = list_store();
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[0].name + models[0].kind, "chatgguf");
  EXPECT_EQ(models[1].name + models[1].kind, "owner/nameunknown");
  EXPECT_EQ(models[2].name + models[2].kind + models[2].source, "tinybertPyPI package x 1");
  remove_stored("owner/name");
  EXPECT_FALSE(filesystem::exists(root_ / "fledge/models/owner"));
  EXPECT_THROW(remove_stored("owner/name"), base::UsageError);
  EXPECT_THROW(remove_stored("../models"), base::UsageError);
  EXPECT_THROW(remove_stored("."), base::UsageError);
  EXPECT_THROW(remove_stored(""), base::UsageError);
  EXPECT_TRUE(filesystem::exists(root_ / "fledge/models/tiny"));
}

TEST_F(StoreTest, AModelIsAPathOrAStoredNameOrInTheHubsCache) {
  make("here", "config.json", "{}");
  make("run/checkpoints/step-000005", "config.json", "{}");
  make("run/checkpoints/step-000020", "config.json", "{}");
  make("fledge/models/tiny", "config.json", "{}");
  make("fledge/models/chat", "a.gguf", "GGUF");
  const std::string commit(40, '1');
  make("hub/models--own--er/refs", "main", commit + "\n");
  make("hub/models--own--er/snapshots/" + commit, "config.json", "{}");
  EXPECT_EQ(resolve_model((root_ / "here").string()), root_ / "here");
  EXPECT_EQ(resolve_model((root_ / "run").string()), root_ / "run/checkpoints/step-000020");
  EXPECT_EQ(resolve_model("tiny"), root_ / "fledge/models/tiny");
  EXPECT_EQ(resolve_model("chat"), root_ / "fledge/models/chat/a.gguf");
  const filesystem::path snapshot = root_ / "hub/models--own--er/snapshots" / commit;
  EXPECT_EQ(resolve_model("own/er"), snapshot);
  EXPECT_EQ(resolve_model("hf:own/er"), snapshot);
  EXPECT_EQ(resolve_model("own/er@main"), snapshot);
  EXPECT_EQ(resolve_model("own/er@" + commit), snapshot);
  for (const char* absent : {"own/er@v2", "own/other", "nothing", "../x", ""}) {
    EXPECT_THROW(resolve_model(absent), base::Error) << absent;
  }
  // A reference that is no plain name leads nowhere.
  make("hub/models--own--er/refs", "bad", "../../../here");
  EXPECT_THROW(resolve_model("own/er@bad"), base::Error);
  make("fledge/models/chat", "b.gguf", "GGUF");
  EXPECT_THROW(resolve_model("chat"), base::Error);
}

TEST(ModelName, HasOneOwnerAtMost) {
  for (const char* good : {"minilm", "a/b", "HuggingFaceTB/SmolLM2-135M_x.1"}) EXPECT_TRUE(is_model_name(good)) << good;
  for (const char* bad : {"", "a/", "/a", "a/b/c", "..", "a/..", ".a", "a b", "a\\b"}) {
    EXPECT_FALSE(is_model_name(bad)) << bad;
  }
}

}  // namespace
}  // namespace fledge::models
