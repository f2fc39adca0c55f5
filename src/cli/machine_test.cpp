#include "cli/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/file.h"

namespace fledge::cli {
namespace {

/// A file tree that stands in for /proc and /sys.
class FakeRoot {
 public:
  FakeRoot() : path_(std::filesystem::temp_directory_path() / ("fledge_root_" + std::to_string(getpid()))) {}
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  void file(const std::string& name, const std::string& text) const {
    base::create_folder((path_ / name).parent_path());
    std::ofstream(path_ / name) << text << "\n";
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Machine, ParsesLimitsListsAndChoices) {
  EXPECT_EQ(parse_cpu_limit("200000 100000"), 2.0);
  EXPECT_EQ(parse_cpu_limit("50000 100000"), 0.5);
  EXPECT_EQ(parse_cpu_limit("max 100000"), std::nullopt);
  EXPECT_EQ(parse_cpu_limit("-1 100000"), std::nullopt);
  EXPECT_EQ(parse_cpu_limit(""), std::nullopt);
  EXPECT_EQ(parse_cpu_limit("1 0"), std::nullopt);
  EXPECT_EQ(chosen_word("always [madvise] never"), "madvise");
  EXPECT_EQ(chosen_word("] ["), "");
  EXPECT_THAT(parse_cpu_list("0-2,8"), testing::ElementsAre(0, 1, 2, 8));
  EXPECT_THAT(parse_cpu_list("0-99999999999"), testing::IsEmpty());
  EXPECT_THAT(parse_cpu_list("x"), testing::IsEmpty());
}

TEST(Machine, TheTightestControlGroupOnTheWayUpCounts) {
  const FakeRoot root;
  root.file("proc/meminfo", "MemTotal:  16777216 kB\nMemAvailable: 8388608 kB\nHugePages_Total:  3");
  root.file("proc/self/cgroup", "0::/a/b");
  root.file("sys/fs/cgroup/a/b/cpu.max", "max 100000");
  root.file("sys/fs/cgroup/a/cpu.max", "150000 100000");
  root.file("sys/fs/cgroup/a/b/memory.max", "4294967296");
  root.file("sys/fs/cgroup/memory.max", "max");
  root.file("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]");
  root.file("sys/devices/system/node/online", "0-1");
  root.file("sys/devices/system/cpu/cpu0/cache/index2/level", "2");
  root.file("sys/devices/system/cpu/cpu0/cache/index2/size", "1024K");
  const Machine machine = inspect_machine(root.path());
  EXPECT_EQ(machine.memory_bytes, uint64_t{16} << 30);
  EXPECT_EQ(machine.available_bytes, uint64_t{8} << 30);
  EXPECT_EQ(machine.memory_limit, uint64_t{4} << 30);
  EXPECT_EQ(machine.cpu_limit, 1.5);
  EXPECT_EQ(machine.huge_pages, "never");
  EXPECT_EQ(machine.reserved_huge_pages, 3u);
  EXPECT_EQ(machine.numa_nodes, 2);
  EXPECT_EQ(machine.l2_bytes, uint64_t{1} << 20);
}

TEST(Machine, NothingIsKnownOfAnEmptyRoot) {
  const Machine machine = inspect_machine("/nonexistent");
  EXPECT_EQ(machine.memory_bytes, 0u);
  EXPECT_EQ(machine.cpu_limit, std::nullopt);
  EXPECT_EQ(machine.huge_pages, "");
  EXPECT_GE(usable_cores(machine), 1);
}

TEST(Machine, OldControlGroupsWithoutALimitHaveNone) {
  const FakeRoot root;
  root.file("proc/meminfo", "MemTotal:  1024 kB");
  root.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  root.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1");
  root.file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  const Machine machine = inspect_machine(root.path());
  EXPECT_EQ(machine.memory_limit, std::nullopt);
  EXPECT_EQ(machine.cpu_limit, std::nullopt);
}

TEST(Machine, UsableCoresAreCutToTheLimit) {
  Machine machine;
  machine.logical_cores = 8;
  EXPECT_EQ(usable_cores(machine), 8);
  machine.cpu_limit = 2.5;
  EXPECT_EQ(usable_cores(machine), 3);
  machine.cpu_limit = 0.1;
  EXPECT_EQ(usable_cores(machine), 1);
}

}  // namespace
}  // namespace fledge::cli
