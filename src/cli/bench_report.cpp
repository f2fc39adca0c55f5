#include "cli/bench_report.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/json.h"
#include "cli/common.h"

namespace fledge::cli {

ResourceUsage resource_usage_now() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {usage.ru_minflt, static_cast<size_t>(usage.ru_maxrss) * 1024};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void report_numbers(const base::OrderedJson& numbers, bool json) {
  if (json) {
    print(numbers.dump() + "\n");
    return;
  }
  for (const auto& [name, value] : numbers.items()) {
    print(fmt::format("{:<40}{}\n", name,
                      value.is_number_float() ? fmt::format("{:.4g}", value.get<double>()) : value.dump()));
  }
}

}  // namespace fledge::cli
