// Pulling from a local server that speaks Hugging Face's protocol.
#include "train/store/hub.h"
#include "base/error.h"
#include "base/json.h"

#include <gmock/gmock.h>

#include <map>

#include "models/store.h"
#include "train/data/sha256.h"
#include "train/data/test_server.h"
#include "train/data/test_support.h"
#include "train/store/pull.h"

namespace fledge::train {
namespace {

using base::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kCommit(40, 'c');

std::string weights_content() {
  std::string text;
  for (int64_t line = 0; line < 40000; ++line) text += std::to_string(line * 104729) + "\n";
  return text;
}

constexpr const char* kConfig = R"({"model_type": "bert"})";

/// A repository with a small file in git and a large one in LFS, which lies behind a redirection.
struct Repository {
  std::string weights = weights_content();
  std::string announced_sha256 = sha256(weights);
  std::string sent_commit = kCommit;
  std::string config_etag;
  size_t cut_at = SIZE_MAX;
  std::vector<std::string> heads;

  Json listing() const {
    return {{"sha", kCommit},
            {"cardData", {{"license", "mit"}}},
            {"siblings",
             {{{"rfilename", "README.md"}, {"size", 4}},
              {{"rfilename", "config.json"}, {"size", std::string(kConfig).size()}},
              {{"rfilename", "model.safetensors"},
               {"size", weights.size()},
               {"lfs", {{"sha256", announced_sha256}, {"size", weights.size()}}}},
              {{"rfilename", "pytorch_model.bin"}, {"size", 99}}}}};
  }

  Answer answer(const TestRequest& request) {
    heads.push_back(request.head);
    const std::string base = "/owner/name/resolve/" + kCommit + "/";
    const std::string commit = "X-Repo-Commit: " + sent_commit + "\r\n";
    if (request.path == "/api/models/owner/name/revision/main?blobs=true") return {200, "", listing().dump(), SIZE_MAX};
    if (request.path == base + "config.json") {
      return {200, commit + "ETag: \"" + config_etag + "\"\r\n", kConfig, SIZE_MAX};
    }
    if (request.path == base + "model.safetensors") {
      return {302, commit + "X-Linked-Etag: \"" + announced_sha256 + "\"\r\nLocation: /cdn/blob\r\n", "", SIZE_MAX};
    }
    if (request.path != "/cdn/blob") return {404, "", "no", SIZE_MAX};
    if (request.range < 0) return {200, "", weights, cut_at};
    const auto from = static_cast<size_t>(request.range);
    return {206, fmt::format("Content-Range: bytes {}-{}/{}\r\n", from, weights.size() - 1, weights.size()),
            weights.substr(from), SIZE_MAX};
  }
};

/// A store and a server of the test's own.
class HubTest : public testing::Test {
 protected:
  HubTest()
      : server_(LocalServer::Handler([this](const TestRequest& request) { return repository_.answer(request); })) {
    ::setenv("HF_ENDPOINT", server_.address().c_str(), 1);
    ::setenv("XDG_DATA_HOME", folder_.path().c_str(), 1);
    ::unsetenv("HF_TOKEN");
  }
  ~HubTest() override {
    ::unsetenv("HF_ENDPOINT");
    ::unsetenv("XDG_DATA_HOME");
    ::unsetenv("HF_TOKEN");
  }
  std::filesystem::path pull(const std::string& what = "hf:owner/name", const PullOptions& options = {}) {
    return pull_model(what, options, [](const PullProgress&) {});
  }

  TemporaryFolder folder_;
  Repository repository_;
  LocalServer server_;
};

TEST_F(HubTest, BringsWhatAModelNeedsAndChecksIt) {
  ::setenv("HF_TOKEN", "secret", 1);
  const auto path = pull();
  EXPECT_EQ(path, models::store_folder() / "owner" / "name");
  EXPECT_EQ(base::read_file(path / "model.safetensors"), repository_.weights);
  EXPECT_EQ(base::read_file(path / "config.json"), kConfig);
  EXPECT_FALSE(std::filesystem::exists(path / "README.md"));
  EXPECT_FALSE(std::filesystem::exists(path / "pytorch_model.bin"));
  EXPECT_THAT(base::read_file(path / "source.json"), HasSubstr(kCommit));
  EXPECT_THAT(repository_.heads.front(), HasSubstr("Authorization: Bearer secret"));
  ASSERT_EQ(models::list_store().size(), 1u);
  EXPECT_EQ(models::list_store()[0].name, "owner/name");
  EXPECT_EQ(models::list_store()[0].kind, "bert");
  EXPECT_EQ(models::resolve_model("owner/name"), path);

  // What is there is not fetched again.
  const size_t requests = repository_.heads.size();
  EXPECT_EQ(pull(), path);
  EXPECT_EQ(repository_.heads.size(), requests);
  models::remove_stored("owner/name");
  EXPECT_TRUE(models::list_store().empty());
  EXPECT_THROW(models::find_stored("owner/name"), base::UsageError);
}

TEST_F(HubTest, GoesOnAfterABrokenTransfer) {
  repository_.cut_at = 100000;
  const auto path = pull();
  EXPECT_EQ(base::read_file(path / "model.safetensors"), repository_.weights);
  bool resumed = false;
  for (const std::string& head : repository_.heads)
    resumed = resumed || head.find("Range: bytes=100000-") != std::string::npos;
  EXPECT_TRUE(resumed);
}

TEST_F(HubTest, KeepsNothingThatIsNotAsAnnounced) {
  repository_.announced_sha256 = std::string(64, 'a');
  EXPECT_THAT(error_of([&] { pull(); }), HasSubstr("SHA-256"));
  EXPECT_TRUE(models::list_store().empty());
  repository_.announced_sha256 = sha256(repository_.weights);
  repository_.sent_commit = std::string(40, 'd');
  EXPECT_THAT(error_of([&] { pull(); }), HasSubstr("was asked for"));
  repository_.sent_commit = kCommit;
  repository_.config_etag = std::string(40, '0');
  EXPECT_THAT(error_of([&] { pull(); }), HasSubstr("not what the server announced"));
  EXPECT_TRUE(models::list_store().empty());
  // The name that `git hash-object` gives the file.
  repository_.config_etag = "46332c50668921e90868a1d44a2550bb60ffdb1d";
  EXPECT_EQ(error_of([&] { pull(); }), "");
  EXPECT_EQ(models::list_store().size(), 1u);
}

TEST_F(HubTest, SaysWhatIsWrongWithAName) {
  EXPECT_THAT(error_of([&] { pull("hf:owner/other"); }), HasSubstr("HF_TOKEN"));
  for (const char* bad :
       {"hf:", "hf:name", "hf:../name", "hf:a/b/c", "hf:owner/name@", "hf:owner/name@a b", "hf:.a/b"}) {
    EXPECT_THROW(pull(bad), base::UsageError) << bad;
  }
  EXPECT_THAT(error_of([&] { pull("minilmm"); }), HasSubstr("did you mean \"minilm\""));
}

TEST(HubRevision, RefusesListingsThatLieOrLeaveTheFolder) {
  const auto parse = [](const Json& siblings) {
    return error_of([&] { HubRevision::parse({{"sha", kCommit}, {"siblings", siblings}}, "test"); });
  };
  for (const char* path : {"../x", "/etc/passwd", "a/../../x", "", "a//..", "a\nb", "a\\b"}) {
    EXPECT_THAT(parse({{{"rfilename", path}}}), HasSubstr("would leave")) << path;
  }
  EXPECT_NE(parse(3), "");
  EXPECT_NE(parse({3}), "");
  EXPECT_NE(parse({{{"rfilename", 3}}}), "");
  EXPECT_NE(parse({{{"rfilename", "a"}, {"lfs", {{"sha256", "../"}}}}}), "");
  EXPECT_NE(error_of([] { HubRevision::parse({{"sha", "../x"}, {"siblings", Json::array()}}, "test"); }), "");
  EXPECT_NE(error_of([] { HubRevision::parse(Json::array(), "test"); }), "");
}

TEST(HubRevision, TakesOneFormOfTheWeights) {
  const auto needed = [](const std::vector<std::string>& paths, const std::string& wanted = "") {
    HubRevision revision;
    for (const std::string& path : paths) revision.files.push_back({path, -1, "", ""});
    std::vector<std::string> names;
    for (const HubFile& file : needed_files(revision, wanted, "hf:a/b")) names.push_back(file.path);
    return names;
  };
  EXPECT_THAT(needed({"config.json", "model.safetensors", "model-1-of-2.safetensors", "x.gguf", "onnx/model.onnx"}),
              ElementsAre("config.json", "model.safetensors"));
  EXPECT_THAT(needed({"model-1-of-2.safetensors", "model-2-of-2.safetensors", "model.safetensors.index.json"}),
              ElementsAre("model-1-of-2.safetensors", "model-2-of-2.safetensors", "model.safetensors.index.json"));
  EXPECT_THAT(needed({"README.md", "q4.gguf"}), ElementsAre("q4.gguf"));
  EXPECT_THAT(needed({"q4.gguf", "q8.gguf"}, "q8.gguf"), ElementsAre("q8.gguf"));
  EXPECT_THAT(error_of([&] { needed({"q4.gguf", "q8.gguf"}); }), HasSubstr("--file: q4.gguf, q8.gguf"));
  EXPECT_THAT(error_of([&] { needed({"pytorch_model.bin"}); }), HasSubstr("neither safetensors nor"));
}

}  // namespace
}  // namespace fledge::train
