#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "infer/engine.h"
#include "serve/http.h"

namespace fledge::serve {

/// Counts of values below bounds, as Prometheus has them.
class Histogram {
 public:
  static constexpr std::array<double, 16> kBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                  0.5,   1,      2.5,   5,    10,    30,   60,  300};
  void observe(double seconds);
  std::string text(const std::string& name, const std::string& help) const;

 private:
  std::array<int64_t, kBounds.size() + 1> counts_{};
  double sum_ = 0;
};

/// What the server counts about itself. Any thread.
class Metrics {
 public:
  void count_response(const std::string& route, int status);
  void count_tokens(int64_t prompt, int64_t cached, int64_t answer);
  void count_failure();
  void observe_first_token(double seconds);
  void observe_next_token(double seconds);
  void observe_request(double seconds);

  /// The text form of Prometheus (version 0.0.4). `engines`: their models' names and counters.
  std::string text(const HttpCounters& http,
                   const std::vector<std::pair<std::string, infer::EngineStatistics>>& engines) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> responses_;
  int64_t prompt_tokens_ = 0, cached_tokens_ = 0, answer_tokens_ = 0, failures_ = 0;
  Histogram first_token_, next_token_, request_;
};

/// Names with commas between them, for a header; cut where there are too many.
std::string joined_fields(const std::vector<std::string>& names);

}  // namespace fledge::serve
