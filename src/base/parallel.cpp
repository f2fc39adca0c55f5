#include "base/parallel.h"

#include <immintrin.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace fledge::base {
namespace {

thread_local int own_index = 0;
thread_local bool is_working = false;

/// What the environment or the system allows at the start.
int first_thread_count() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int threads = std::atoi(text);
    if (threads > 0) return threads;
  }
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(1, CPU_COUNT(&cores));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

std::atomic<int>& wanted_threads() {
  static std::atomic<int> threads = first_thread_count();
  return threads;
}

/// Looks at something a few thousand times, some 100 microseconds, before the thread goes to sleep: longer than the
/// pauses between the operations of a step, shorter than what another program would miss.
template <typename Ready>
bool look_for(const Ready& ready) {
  constexpr int kLooks = 4000;
  for (int look = 0; look < kLooks; ++look) {
    if (ready()) return true;
    _mm_pause();
  }
  return false;
}

/// The threads. Work is a round of parts; `ticket_` holds the round's number in its upper half and the next part in
/// its lower, so that a thread that wakes late takes no part of another round: its claim fails. Between rounds the
/// ticket is closed, so that nobody claims a part of the last round by the settings of the next.
class Team {
 public:
  /// Never destroyed: its threads may outlive what main() leaves behind.
  static Team& instance() {
    static Team& team = *new Team;
    return team;
  }

  void run(int64_t parts, int threads, void (*call)(const void*, int64_t), const void* body) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    is_working = true;
    if (lock.owns_lock()) {
      publish(parts, threads, call, body);
      take_parts(static_cast<uint32_t>(ticket_.load(std::memory_order_relaxed) >> 32));
      wait_for_all(static_cast<uint32_t>(parts));
    } else {
      for (int64_t part = 0; part < parts; ++part) call(body, part);
    }
    is_working = false;
  }

 private:
  void publish(int64_t parts, int threads, void (*call)(const void*, int64_t), const void* body) {
    for (; workers_ < threads - 1; ++workers_) {
      std::thread([this, index = workers_ + 1, round = round_.load()] { work(index, round); }).detach();
    }
    const uint32_t last = round_.load(std::memory_order_relaxed);
    ticket_.store(uint64_t{last} << 32 | kClosed, std::memory_order_relaxed);
    // Released: who sees the new count sees the closed ticket too.
    parts_.store(static_cast<uint32_t>(parts), std::memory_order_release);
    threads_.store(threads, std::memory_order_relaxed);
    call_.store(call, std::memory_order_relaxed);
    body_.store(body, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    const uint32_t round = last + 1;
    ticket_.store(uint64_t{round} << 32, std::memory_order_release);
    round_.store(round);
    if (sleeping_.load() > 0) round_.notify_all();
  }

  void take_parts(uint32_t round) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (ticket >> 32 == round && static_cast<uint32_t>(ticket) < parts_.load(std::memory_order_acquire)) {
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
      const uint32_t parts = parts_.load(std::memory_order_relaxed);
      call_.load(std::memory_order_relaxed)(body_.load(std::memory_order_relaxed), static_cast<uint32_t>(ticket));
      if (done_.fetch_add(1) + 1 == parts && caller_sleeps_.load()) done_.notify_one();
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }

  void wait_for_all(uint32_t parts) {
    if (look_for([&] { return done_.load(std::memory_order_acquire) == parts; })) return;
    caller_sleeps_.store(true);
    for (uint32_t done = done_.load(); done != parts; done = done_.load()) done_.wait(done);
    caller_sleeps_.store(false);
  }

  [[noreturn]] void work(int index, uint32_t round) {
    own_index = index;
    is_working = true;
    while (true) {
      round = next_round(index, round);
      if (index < threads_.load(std::memory_order_relaxed)) take_parts(round);
    }
  }

  /// A round after `last`, as soon as there is one. Threads that the last round did not want sleep at once.
  uint32_t next_round(int index, uint32_t last) {
    const auto is_new = [&] { return round_.load(std::memory_order_acquire) != last; };
    const bool is_wanted = index < threads_.load(std::memory_order_relaxed);
    if (!is_new() && !(is_wanted && look_for(is_new))) {
      sleeping_.fetch_add(1);
      round_.wait(last);
      sleeping_.fetch_sub(1);
    }
    return round_.load(std::memory_order_acquire);
  }

  static constexpr uint32_t kClosed = 0xffffffffu;

  std::mutex mutex_;  ///< held by the thread that uses the team
  int workers_ = 0;
  std::atomic<uint32_t> parts_ = 0;
  std::atomic<int> threads_ = 0;
  std::atomic<void (*)(const void*, int64_t)> call_ = nullptr;
  std::atomic<const void*> body_ = nullptr;
  alignas(64) std::atomic<uint64_t> ticket_ = 0;
  alignas(64) std::atomic<uint32_t> done_ = 0;
  std::atomic<bool> caller_sleeps_ = false;
  alignas(64) std::atomic<uint32_t> round_ = 0;
  std::atomic<int> sleeping_ = 0;
};

}  // namespace

int thread_count() {
  return wanted_threads().load(std::memory_order_relaxed);
}

void set_thread_count(int threads) {
  wanted_threads().store(std::max(1, threads), std::memory_order_relaxed);
}

int thread_index() {
  return own_index;
}

bool in_parallel() {
  return is_working;
}

void run_parts(int64_t parts, int threads, void (*call)(const void*, int64_t), const void* body) {
  Team::instance().run(parts, threads, call, body);
}

}  // namespace fledge::base
