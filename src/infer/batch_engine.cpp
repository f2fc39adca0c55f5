#include "infer/batch_engine.h"

#include <utility>

namespace fledge::infer {

BatchEngine::BatchEngine(models::LanguageModel& model, nn::Memory& memory, const BatchOptions& options,
                         std::unique_ptr<Drafter> drafter)
    : model_(model),
      most_waiting_(options.most_waiting),
      scheduler_(model, memory, options, std::move(drafter)),
      statistics_(scheduler_.statistics()),
      thread_([this] { run(); }) {}

BatchEngine::~BatchEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  thread_.join();
}

TextEngine::RequestId BatchEngine::submit(Request request, std::shared_ptr<RequestListener> listener) {
  scheduler_.check(request);
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    const int64_t waiting = statistics_.waiting + static_cast<int64_t>(arrivals_.size());
    if (waiting >= most_waiting_) {
      ++refused_;
      throw QueueFullError("{} requests are waiting already; try again later", waiting);
    }
    id = next_id_++;
    arrivals_.push_back({id, std::move(request), std::move(listener)});
  }
  arrived_.notify_all();
  return id;
}

void BatchEngine::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    cancellations_.push_back(id);
  }
  arrived_.notify_all();
}

EngineStatistics BatchEngine::statistics() const {
  const std::lock_guard lock(mutex_);
  EngineStatistics result = statistics_;
  result.waiting += static_cast<int64_t>(arrivals_.size());
  result.requests_refused = refused_;
  return result;
}

/// Hands what has arrived to the scheduler, waiting for it where there is nothing to do; false at the end.
bool BatchEngine::take_arrivals() {
  std::vector<Arrival> arrivals;
  std::vector<RequestId> cancellations;
  {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return stopping_ || !idle_ || !arrivals_.empty() || !cancellations_.empty(); });
    arrivals = std::exchange(arrivals_, {});
    cancellations = std::exchange(cancellations_, {});
    statistics_.waiting += static_cast<int64_t>(arrivals.size());
    if (stopping_) {
      arrivals_ = std::move(arrivals);
      return false;
    }
  }
  for (Arrival& arrival : arrivals) {
    scheduler_.submit(arrival.id, std::move(arrival.request), std::move(arrival.listener));
  }
  for (const RequestId id : cancellations) scheduler_.cancel(id);
  return true;
}

void BatchEngine::run() {
  while (take_arrivals()) {
    bool more = false;
    try {
      more = scheduler_.step();
    } catch (const std::exception& error) {
      scheduler_.fail_all(error.what());
    }
    const std::lock_guard lock(mutex_);
    statistics_ = scheduler_.statistics();
    idle_ = !more;
  }
  for (Arrival& arrival : arrivals_) {
    scheduler_.submit(arrival.id, std::move(arrival.request), std::move(arrival.listener));
  }
  scheduler_.fail_all({});
}

}  // namespace fledge::infer
