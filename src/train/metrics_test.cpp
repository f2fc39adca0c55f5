#include "train/metrics.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"

namespace fledge::train {
namespace {

class MetricsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("fledge_metrics_" + std::to_string(getpid()) + "_" +
                                                        testing::UnitTest::GetInstance()->current_test_info()->name());
    base::create_folder(folder_);
    path_ = folder_ / "metrics.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<int64_t> steps() const {
    std::vector<int64_t> result;
    for (const base::Json& record : read_metrics(path_)) result.push_back(record["step"].get<int64_t>());
    return result;
  }

  std::filesystem::path folder_, path_;
};

TEST_F(MetricsTest, OneLineARecord) {
  auto writer = MetricsWriter::create(path_);
  writer.write(1, {{"loss", 3.5}, {"kind", "train"}});
  writer.write(2, {{"loss", NAN}});
  EXPECT_EQ(base::read_file(path_), "{\"step\":1,\"loss\":3.5,\"kind\":\"train\"}\n{\"step\":2,\"loss\":null}\n");
}

TEST_F(MetricsTest, ResumeDropsWhatLiesAfterTheCheckpoint) {
  {
    auto writer = MetricsWriter::create(path_);
    for (int64_t step = 1; step <= 10; ++step) writer.write(step, {{"loss", 1.0}});
    writer.sync();
  }
  {
    auto writer = MetricsWriter::resume(path_, 6);
    writer.write(7, {{"loss", 2.0}});
  }
  EXPECT_THAT(steps(), testing::ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(read_metrics(path_).back()["loss"], base::Json(2.0));
}

TEST_F(MetricsTest, ATornOrDamagedLineIsDroppedAndTheRestStays) {
  base::write_file(path_, "{\"step\":1}\nrubbish\n{\"no\":1}\n[1]\n{\"step\":2}\n{\"step\":3,\"loss\":0.1");
  EXPECT_THAT(steps(), testing::ElementsAre(1, 2));
  { auto writer = MetricsWriter::resume(path_, 5); }
  EXPECT_EQ(base::read_file(path_), "{\"step\":1}\n{\"step\":2}\n");
  // A last line without its end may be cut inside a number, even where it is valid JSON.
  base::write_file(path_, "{\"step\":1}\n{\"step\":2}");
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(MetricsTest, CreateReplacesAndResumeCreates) {
  base::write_file(path_, "{\"step\":1}\n");
  { auto writer = MetricsWriter::create(path_); }
  EXPECT_EQ(base::read_file(path_), "");
  std::filesystem::remove(path_);
  auto writer = MetricsWriter::resume(path_, 0);
  writer.write(1, {});
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(MetricsTest, AKilledProcessLosesAtMostItsLastLine) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto writer = MetricsWriter::create(path_);
    for (int64_t step = 1;; ++step) writer.write(step, {{"loss", 1.0 / static_cast<double>(step)}});
  }
  usleep(30000);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto seen = steps();
  ASSERT_FALSE(seen.empty());
  for (size_t index = 0; index < seen.size(); ++index) ASSERT_EQ(seen[index], static_cast<int64_t>(index) + 1);
  // Every line but a torn last one is a record, and resuming takes the torn one away.
  const std::string text = base::read_file(path_);
  EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')), seen.size());
  { auto writer = MetricsWriter::resume(path_, seen.back()); }
  EXPECT_EQ(base::read_file(path_), text.substr(0, text.rfind('\n') + 1));
}

TEST_F(MetricsTest, AFullDiskLeavesWholeLinesAndAnError) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // The size limit of files stands in for the disk; it ends in the middle of a record.
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{25, 25};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto writer = MetricsWriter::create(path_);
    try {
      for (int64_t step = 1; step < 10; ++step) writer.write(step, {{"x", 1}});
    } catch (const base::Error& error) {
      _exit(std::string(error.what()).find(path_.string()) == std::string::npos ? 2 : 42);
    }
    _exit(3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(base::read_file(path_), "{\"step\":1,\"x\":1}\n");
}

TEST_F(MetricsTest, AFolderThatIsNotThereIsNamed) {
  EXPECT_THROW(MetricsWriter::create(folder_ / "missing" / "metrics.jsonl"), base::Error);
}

}  // namespace
}  // namespace fledge::train
