#include "base/parallel.h"

#include <immintrin.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
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

/// Whether the system says that the fastest core has a clock well above that of the slowest one, as where cores for
/// speed and cores for efficiency stand together.
bool cores_differ() {
  constexpr double kNotable = 1.15;
  double slowest = 0, fastest = 0;
  for (unsigned core = 0; core < std::thread::hardware_concurrency(); ++core) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(core) + "/cpufreq/cpuinfo_max_freq");
    double clock = 0;
    if (!(file >> clock)) continue;
    slowest = slowest == 0 ? clock : std::min(slowest, clock);
    fastest = std::max(fastest, clock);
  }
  return fastest > slowest * kNotable;
}

std::atomic<int>& wanted_threads() {
  static std::atomic<int> threads = first_thread_count();
  return threads;
}

std::atomic<IdleWork*> idle_work = nullptr;

/// Looks at something a few thousand times, some 100 microseconds, before the thread goes to sleep: longer than the
/// pauses between the operations of a step, shorter than what another program would miss.
template <typename Ready>
bool look_for(const Ready& ready) {
  constexpr int kLooks = 4000;
  for (int look = 0; look < kLooks; ++look) {
    if (ready()) return true;
    IdleWork* const work = idle_work.load(std::memory_order_relaxed);
    if (work == nullptr || !work(own_index)) _mm_pause();
  }
  return false;
}

/// Parts of a round that one thread begins with, as one number: the low bits of the round's own number in the upper 24,
/// then the first part and the end in 20 bits each. The owner takes from the front, so that it goes through memory in
/// order and finds in its caches what it left there with the last operation; who has finished takes from the back of
/// others. A thread that wakes late with the number of another round takes nothing.
class Range {
 public:
  static constexpr int64_t kMostParts = (1 << 20) - 1;

  void open(uint32_t round, int64_t first, int64_t end) {
    state_.store(uint64_t{round} << 40 | static_cast<uint64_t>(first) << 20 | static_cast<uint64_t>(end),
                 std::memory_order_release);
  }

  /// A part, or -1.
  int64_t take(uint32_t round, bool from_front) {
    uint64_t state = state_.load(std::memory_order_acquire);
    while (state >> 40 == (round & 0xffffff)) {
      const uint64_t first = state >> 20 & kMostParts, end = state & kMostParts;
      if (first >= end) return -1;
      const uint64_t next = from_front ? state + (uint64_t{1} << 20) : state - 1;
      if (!state_.compare_exchange_weak(state, next, std::memory_order_acq_rel)) continue;
      return static_cast<int64_t>(from_front ? first : end - 1);
    }
    return -1;
  }

 private:
  std::atomic<uint64_t> state_ = 0;
};

/// The threads. Work is a round of parts, cut into a range for each thread.
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
      for (int64_t first = 0; first < parts; first += Range::kMostParts) {
        const int64_t count = std::min(parts - first, Range::kMostParts);
        publish(first, count, threads, call, body);
        take_parts(own_index, round_.load(std::memory_order_relaxed));
        wait_for_all(static_cast<uint32_t>(count));
      }
    } else {
      for (int64_t part = 0; part < parts; ++part) call(body, part);
    }
    is_working = false;
  }

 private:
  /// No range has a part left when this is called.
  void publish(int64_t first, int64_t count, int threads, void (*call)(const void*, int64_t), const void* body) {
    for (; workers_ < threads - 1; ++workers_) {
      std::thread([this, index = workers_ + 1, round = round_.load()] { work(index, round); }).detach();
    }
    const int ranges = std::min<int>(threads, kMostRanges);
    ranges_used_.store(ranges, std::memory_order_relaxed);
    first_.store(first, std::memory_order_relaxed);
    parts_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    threads_.store(threads, std::memory_order_relaxed);
    call_.store(call, std::memory_order_relaxed);
    body_.store(body, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    const uint32_t round = round_.load(std::memory_order_relaxed) + 1;
    for (int range = 0; range < ranges; ++range) {
      ranges_[static_cast<size_t>(range)].open(round, count * range / ranges, count * (range + 1) / ranges);
    }
    round_.store(round);
    if (sleeping_.load() > 0) round_.notify_all();
  }

  void take_parts(int index, uint32_t round) {
    const int ranges = ranges_used_.load(std::memory_order_relaxed);
    for (int turn = 0; turn < ranges; ++turn) {
      Range& range = ranges_[static_cast<size_t>((index + turn) % ranges)];
      const bool is_own = turn == 0 && index < ranges;
      for (int64_t part = range.take(round, is_own); part >= 0; part = range.take(round, is_own)) {
        const uint32_t parts = parts_.load(std::memory_order_relaxed);
        call_.load(std::memory_order_relaxed)(body_.load(std::memory_order_relaxed),
                                              first_.load(std::memory_order_relaxed) + part);
        if (done_.fetch_add(1) + 1 == parts && caller_sleeps_.load()) done_.notify_one();
      }
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
      if (index < threads_.load(std::memory_order_relaxed)) take_parts(index, round);
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

  static constexpr int kMostRanges = 256;

  std::mutex mutex_;  ///< held by the thread that uses the team
  int workers_ = 0;
  std::atomic<int64_t> first_ = 0;  ///< what the round's part 0 is called
  std::atomic<uint32_t> parts_ = 0;
  std::atomic<int> threads_ = 0, ranges_used_ = 1;
  std::atomic<void (*)(const void*, int64_t)> call_ = nullptr;
  std::atomic<const void*> body_ = nullptr;
  alignas(64) std::array<Range, kMostRanges> ranges_;
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

int64_t parts_per_thread() {
  static const int64_t parts = cores_differ() ? 4 : 1;
  return parts;
}

int thread_index() {
  return own_index;
}

bool in_parallel() {
  return is_working;
}

void set_idle_work(IdleWork* work) {
  idle_work.store(work, std::memory_order_relaxed);
}

void run_parts(int64_t parts, int threads, void (*call)(const void*, int64_t), const void* body) {
  Team::instance().run(parts, threads, call, body);
}

}  // namespace fledge::base
