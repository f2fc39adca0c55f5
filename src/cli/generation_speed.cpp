#include "cli/generation_speed.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace fledge::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// When a request's first and last tokens came.
struct Times : infer::RequestListener {
  Clock::time_point first{}, last{};
  int64_t tokens = 0;
  std::string error;

  bool on_token(const infer::SampledToken&) override {
    last = Clock::now();
    if (tokens++ == 0) first = last;
    return true;
  }
  void on_finish(const infer::RequestResult& result) override { error = result.error; }
};

infer::Request random_request(uint64_t number, int64_t prompt_tokens, int64_t made, int64_t vocabulary) {
  const base::Random random(1, number);
  infer::Request request;
  for (int64_t index = 0; index < prompt_tokens; ++index) {
    request.prompt.push_back(
        static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary), static_cast<uint64_t>(index))));
  }
  request.options.sampling.temperature = 0.0;
  request.options.sampling.log_probability = false;
  request.options.max_tokens = made;
  return request;
}

}  // namespace

GenerationSpeed measure_generation(infer::BatchScheduler& scheduler, int64_t batch, int64_t prompt_tokens, int64_t made,
                                   int64_t vocabulary, std::span<const grad::AdapterIdentity* const> adapters) {
  std::vector<std::shared_ptr<Times>> requests;
  for (int64_t number = 0; number < batch; ++number) {
    requests.push_back(std::make_shared<Times>());
    const auto id = static_cast<uint64_t>(number) + 1;
    infer::Request request = random_request(id, prompt_tokens, made, vocabulary);
    if (!adapters.empty()) request.adapter = adapters[static_cast<size_t>(number) % adapters.size()];
    scheduler.submit(id, std::move(request), requests.back());
  }
  const auto start = Clock::now();
  while (scheduler.step()) {
  }
  Clock::time_point all_read = start, end = start;
  int64_t late_tokens = 0;
  for (const auto& request : requests) {
    if (!request->error.empty()) throw base::Error("{}", request->error);
    all_read = std::max(all_read, request->first);
    end = std::max(end, request->last);
    late_tokens += request->tokens - 1;
  }
  const double prompt_seconds = std::chrono::duration<double>(all_read - start).count();
  const double decode_seconds = std::chrono::duration<double>(end - all_read).count();
  return {static_cast<double>(batch * prompt_tokens) / prompt_seconds,
          decode_seconds > 0 ? static_cast<double>(late_tokens) / decode_seconds : 0.0};
}

}  // namespace fledge::cli
