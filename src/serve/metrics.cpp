#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace fledge::serve {
namespace {

/// A label's value: backslash, quote and line feed are escaped.
std::string label(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string heading(const char* name, const char* type, const char* help) {
  return fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::string single(const char* name, const char* type, const char* help, int64_t value) {
  return heading(name, type, help) + fmt::format("{} {}\n", name, value);
}

}  // namespace

void Histogram::observe(double seconds) {
  const auto bound = std::ranges::lower_bound(kBounds, seconds);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name, const std::string& help) const {
  std::string text = fmt::format("# HELP {} {}\n# TYPE {} histogram\n", name, help, name);
  int64_t below = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    below += counts_[i];
    text += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], below);
  }
  below += counts_.back();
  return text +
         fmt::format("{}_bucket{{le=\"+Inf\"}} {}\n{}_sum {}\n{}_count {}\n", name, below, name, sum_, name, below);
}

void Metrics::count_response(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[{route, status}];
}

void Metrics::count_tokens(int64_t prompt, int64_t cached, int64_t answer) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += prompt;
  cached_tokens_ += cached;
  answer_tokens_ += answer;
}

void Metrics::count_failure() {
  const std::lock_guard lock(mutex_);
  ++failures_;
}

void Metrics::observe_first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.observe(seconds);
}

void Metrics::observe_next_token(double seconds) {
  const std::lock_guard lock(mutex_);
  next_token_.observe(seconds);
}

void Metrics::observe_request(double seconds) {
  const std::lock_guard lock(mutex_);
  request_.observe(seconds);
}

std::string Metrics::text(const HttpCounters& http,
                          const std::vector<std::pair<std::string, infer::EngineStatistics>>& engines) const {
  const std::lock_guard lock(mutex_);
  std::string text = heading("fledge_responses_total", "counter", "Answers by route and HTTP status.");
  for (const auto& [key, count] : responses_) {
    text +=
        fmt::format("fledge_responses_total{{route=\"{}\",status=\"{}\"}} {}\n", label(key.first), key.second, count);
  }
  text += single("fledge_prompt_tokens_total", "counter", "Tokens of prompts.", prompt_tokens_);
  text += single("fledge_cached_tokens_total", "counter", "Tokens of prompts that were in the cache.", cached_tokens_);
  text += single("fledge_answer_tokens_total", "counter", "Tokens of answers.", answer_tokens_);
  text += single("fledge_failures_total", "counter", "Text requests that failed after they were accepted.", failures_);
  text += first_token_.text("fledge_first_token_seconds", "From the request to its first token.");
  text += next_token_.text("fledge_next_token_seconds", "From a token to the next one of its answer.");
  text += request_.text("fledge_request_seconds", "From the request to the end of its answer.");
  text += single("fledge_connections", "gauge", "Open connections.", http.connections);
  text += single("fledge_connections_total", "counter", "Connections that were accepted.", http.accepted);
  text += single("fledge_connections_refused_total", "counter", "Connections beyond the limit.", http.refused);
  text += single("fledge_connections_dropped_total", "counter", "Slow connections closed.", http.dropped);
  text += single("fledge_timeouts_total", "counter", "Requests and answers that took too long.", http.timed_out);
  text += single("fledge_malformed_total", "counter", "Requests that were not valid HTTP.", http.malformed);
  text += single("fledge_clients_left_total", "counter", "Clients that left before their answer.", http.left);
  const auto by_model = [&](const char* name, const char* type, const char* help, auto value) {
    text += heading(name, type, help);
    for (const auto& [model, statistics] : engines) {
      text += fmt::format("{}{{model=\"{}\"}} {}\n", name, label(model), value(statistics));
    }
  };
  using Statistics = infer::EngineStatistics;
  by_model("fledge_running", "gauge", "Sequences worked on.", [](const Statistics& s) { return s.running; });
  by_model("fledge_waiting", "gauge", "Requests in the queue.", [](const Statistics& s) { return s.waiting; });
  by_model("fledge_cancelled_total", "counter", "Requests ended early.",
           [](const Statistics& s) { return s.requests_cancelled; });
  by_model("fledge_refused_total", "counter", "Requests refused by a full queue.",
           [](const Statistics& s) { return s.requests_refused; });
  by_model("fledge_preemptions_total", "counter", "Sequences that gave their pages back.",
           [](const Statistics& s) { return s.preemptions; });
  by_model("fledge_guessed_tokens_total", "counter", "Tokens guessed ahead.",
           [](const Statistics& s) { return s.drafts.guessed; });
  by_model("fledge_right_guesses_total", "counter", "Guessed tokens that became part of an answer.",
           [](const Statistics& s) { return s.drafts.right; });
  by_model("fledge_cache_pages", "gauge", "Pages of the cache.", [](const Statistics& s) { return s.pages; });
  by_model("fledge_cache_pages_free", "gauge", "Free pages of the cache.",
           [](const Statistics& s) { return s.free_pages; });
  return text;
}

std::string joined_fields(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (text.size() + name.size() > 500) return text + ", ...";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

}  // namespace fledge::serve
