#pragma once

#include <chrono>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::cli {

/// What the system says about this process.
struct ResourceUsage {
  int64_t minor_faults = 0;
  size_t peak_bytes = 0;
};
ResourceUsage resource_usage_now();

double seconds_since(std::chrono::steady_clock::time_point start);
double median(std::vector<double> values);

/// Prints numbers by name, or as one JSON object.
void report_numbers(const base::OrderedJson& numbers, bool json);

}  // namespace fledge::cli
