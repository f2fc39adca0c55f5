#include "serve/event_thread.h"

#include "base/log.h"

namespace fledge::serve {

EventThread::EventThread() : thread_([this] { run(); }) {}

EventThread::~EventThread() {
  stop();
}

void EventThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void EventThread::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    work_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void EventThread::run() {
  std::deque<std::function<void()>> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !work_.empty(); });
      if (work_.empty()) return;
      batch.swap(work_);
    }
    for (auto& work : batch) {
      try {
        work();
      } catch (const std::exception& error) {
        base::log_warning("an answer failed: {}", error.what());
      }
      work = nullptr;  // what it holds goes away now and not with the whole batch
    }
    batch.clear();
  }
}

}  // namespace fledge::serve
