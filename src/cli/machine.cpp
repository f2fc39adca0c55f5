#include "cli/machine.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

namespace fledge::cli {
namespace {

namespace filesystem = std::filesystem;

/// Files of /proc and /sys have no size, so they are read as streams. Empty where that fails.
std::string text_of(const filesystem::path& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  text << stream.rdbuf();
  std::string result = text.str();
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return number;
}

/// "MemTotal:   16384 kB" -> bytes.
uint64_t meminfo_value(std::string_view meminfo, std::string_view name) {
  const size_t start = meminfo.find(name);
  if (start == std::string_view::npos) return 0;
  const size_t digits = meminfo.find_first_of("0123456789", start);
  return digits == std::string_view::npos ? 0 : number_of(meminfo.substr(digits)).value_or(0);
}

/// "48K" or "2M" -> bytes.
uint64_t size_of_cache(std::string_view text) {
  const uint64_t number = number_of(text).value_or(0);
  if (text.ends_with('K')) return number << 10;
  if (text.ends_with('M')) return number << 20;
  return number;
}

void inspect_caches(const filesystem::path& root, Machine& machine) {
  for (int index = 0; index < 8; ++index) {
    const auto folder = root / "sys/devices/system/cpu/cpu0/cache" / ("index" + std::to_string(index));
    const std::string level = text_of(folder / "level");
    if (level == "2") machine.l2_bytes = size_of_cache(text_of(folder / "size"));
    if (level == "3") machine.l3_bytes = size_of_cache(text_of(folder / "size"));
  }
}

void inspect_cores(const filesystem::path& root, Machine& machine) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) machine.logical_cores = CPU_COUNT(&set);
  // Two logical cores are one physical core when their lists of siblings are the same.
  std::set<std::string> siblings;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &set)) continue;
    const auto file =
        root / "sys/devices/system/cpu" / ("cpu" + std::to_string(core)) / "topology/thread_siblings_list";
    if (const std::string list = text_of(file); !list.empty()) siblings.insert(list);
  }
  machine.physical_cores = static_cast<int>(siblings.size());
  machine.numa_nodes =
      std::max(1, static_cast<int>(parse_cpu_list(text_of(root / "sys/devices/system/node/online")).size()));
}

/// The folders of this process's control group and its parents (version 2), innermost first.
std::vector<filesystem::path> control_groups(const filesystem::path& root) {
  const filesystem::path mount = root / "sys/fs/cgroup";
  std::vector<filesystem::path> folders;
  std::istringstream lines(text_of(root / "proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("0::/")) continue;
    const filesystem::path below = filesystem::path(line.substr(4)).lexically_normal();
    if (!below.empty() && below.string().starts_with("..")) continue;
    for (filesystem::path folder = below; !folder.empty() && folder != "."; folder = folder.parent_path())
      folders.push_back(mount / folder);
  }
  folders.push_back(mount);
  return folders;
}

template <typename T>
void lower(std::optional<T>& limit, std::optional<T> other) {
  if (other && (!limit || *other < *limit)) limit = other;
}

void inspect_limits(const filesystem::path& root, Machine& machine) {
  for (const filesystem::path& folder : control_groups(root)) {
    lower(machine.cpu_limit, parse_cpu_limit(text_of(folder / "cpu.max")));
    lower(machine.memory_limit, number_of(text_of(folder / "memory.max")));
  }
  // Version 1, as older systems mount it.
  const filesystem::path cpu = root / "sys/fs/cgroup/cpu";
  if (const std::string quota = text_of(cpu / "cpu.cfs_quota_us"); !quota.empty())
    lower(machine.cpu_limit, parse_cpu_limit(quota + " " + text_of(cpu / "cpu.cfs_period_us")));
  lower(machine.memory_limit, number_of(text_of(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")));
  // "No limit" is written as a number near 2^63 there.
  if (machine.memory_limit && *machine.memory_limit >= machine.memory_bytes) machine.memory_limit.reset();
}

}  // namespace

std::optional<double> parse_cpu_limit(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto quota = number_of(text.substr(0, space)), period = number_of(text.substr(space + 1));
  if (!quota || !period || *quota == 0 || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::string chosen_word(std::string_view text) {
  const size_t open = text.find('['), close = text.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return "";
  return std::string(text.substr(open + 1, close - open - 1));
}

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> cores;
  std::istringstream parts{std::string(text)};
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t dash = part.find('-');
    const auto first = number_of(std::string_view(part).substr(0, dash));
    const auto last = dash == std::string::npos ? first : number_of(std::string_view(part).substr(dash + 1));
    if (!first || !last || *last > 1 << 20) return {};
    for (uint64_t core = *first; core <= *last; ++core) cores.push_back(static_cast<int>(core));
  }
  return cores;
}

Machine inspect_machine(const filesystem::path& root) {
  Machine machine;
  inspect_cores(root, machine);
  inspect_caches(root, machine);
  const std::string meminfo = text_of(root / "proc/meminfo");
  machine.memory_bytes = meminfo_value(meminfo, "MemTotal:") * 1024;
  machine.available_bytes = meminfo_value(meminfo, "MemAvailable:") * 1024;
  machine.reserved_huge_pages = meminfo_value(meminfo, "HugePages_Total:");
  machine.huge_pages = chosen_word(text_of(root / "sys/kernel/mm/transparent_hugepage/enabled"));
  inspect_limits(root, machine);
  return machine;
}

int usable_cores(const Machine& machine) {
  const int limit = machine.cpu_limit ? std::max(1, static_cast<int>(std::ceil(*machine.cpu_limit))) : 1 << 20;
  return std::max(1, std::min(machine.logical_cores, limit));
}

int usable_cores() {
  Machine machine;
  inspect_cores("/", machine);
  inspect_limits("/", machine);
  return usable_cores(machine);
}

}  // namespace fledge::cli
