#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace fledge::serve {

/// A thread that runs what is posted to it, in order. Engines call listeners on their own thread and must not wait:
/// making text and JSON of tokens happens here.
class EventThread {
 public:
  EventThread();
  ~EventThread();  ///< stop()
  /// Runs what was posted before and ends; what is posted from then on is dropped.
  void stop();
  void post(std::function<void()> work);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace fledge::serve
