#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::cli {

/// What the machine has and what this process may use of it.
struct Machine {
  int logical_cores = 0;   ///< that this process may run on
  int physical_cores = 0;  ///< behind them; 0: not known
  int numa_nodes = 1;
  std::optional<double> cpu_limit;       ///< cores' worth of time that the control group grants
  uint64_t memory_bytes = 0;             ///< installed
  uint64_t available_bytes = 0;          ///< could be used now without swapping
  std::optional<uint64_t> memory_limit;  ///< of the control group
  uint64_t l2_bytes = 0;                 ///< of one core; 0: not known
  uint64_t l3_bytes = 0;                 ///< shared
  std::string huge_pages;                ///< setting of transparent huge pages: "always", "madvise", "never" or ""
  uint64_t reserved_huge_pages = 0;      ///< pages set aside by the administrator
};

/// Looks at /proc, /sys and the control group, beneath `root` (other than "/" in tests). What cannot be read stays
/// unknown; nothing throws.
Machine inspect_machine(const std::filesystem::path& root = "/");

/// Cores' worth of threads that are useful: the cores this process may run on, cut to the control group's limit.
int usable_cores();
int usable_cores(const Machine& machine);

/// cpu.max of a control group: "200000 100000" -> 2.0, "max 100000" -> nothing.
std::optional<double> parse_cpu_limit(std::string_view text);
/// "[always] madvise never" -> "always".
std::string chosen_word(std::string_view text);
/// "0-3,8" -> 5 items; empty where it is no such list.
std::vector<int> parse_cpu_list(std::string_view text);

}  // namespace fledge::cli
