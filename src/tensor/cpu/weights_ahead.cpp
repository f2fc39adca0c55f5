#include "tensor/cpu/weights_ahead.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "base/parallel.h"

namespace fledge::tensor::cpu {
namespace {

constexpr size_t kMostWeights = 4;  ///< of one product: query, key and value, or gate and up
constexpr int64_t kPieceBytes = 512, kLineBytes = 64;

/// What one thread may ask for: what its own L2 cache keeps beside the rest.
int64_t most_bytes() {
  static const int64_t bytes = [] {
    const long l2 = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
    return std::max<int64_t>(l2, int64_t{256} << 10) / 2;
  }();
  return bytes;
}

using Weights = std::array<WeightPanels, kMostWeights>;

/// The weights that are expected next, readable while they are changed: who reads half of two sets asks for memory that
/// nobody needs.
class Expected {
 public:
  void set(const Weights& weights) {
    for (size_t i = 0; i < kMostWeights; ++i) {
      first_[i].store(reinterpret_cast<uintptr_t>(weights[i].first), std::memory_order_relaxed);
      bytes_[i].store(weights[i].bytes, std::memory_order_relaxed);
      count_[i].store(weights[i].count, std::memory_order_relaxed);
    }
    number_.fetch_add(1, std::memory_order_release);
  }
  /// Changes with every set().
  uint32_t number() const { return number_.load(std::memory_order_acquire); }

  /// The address of byte `at` of what thread `thread` will read, or 0 behind its end.
  uintptr_t address(int thread, int64_t at) const {
    int64_t total = 0;
    for (const auto& count : count_) total += count.load(std::memory_order_relaxed);
    const int64_t threads = base::thread_count();
    int64_t first = total * thread / threads, end = total * (thread + 1) / threads;
    for (size_t i = 0; i < kMostWeights && end > 0; ++i) {
      const int64_t count = count_[i].load(std::memory_order_relaxed),
                    bytes = bytes_[i].load(std::memory_order_relaxed);
      const int64_t own = std::min(count, end) - first;
      if (own > 0) {
        if (at < own * bytes)
          return first_[i].load(std::memory_order_relaxed) + static_cast<uintptr_t>(first * bytes + at);
        at -= own * bytes;
      }
      first = std::max<int64_t>(0, first - count), end -= count;
    }
    return 0;
  }

 private:
  std::array<std::atomic<uintptr_t>, kMostWeights> first_{};
  std::array<std::atomic<int64_t>, kMostWeights> bytes_{}, count_{};
  std::atomic<uint32_t> number_ = 0;
};

Expected& expected() {
  static Expected weights;
  return weights;
}

/// Asks for the next piece of what the thread will read.
bool ask_for_piece(int thread) {
  thread_local uint32_t number = 0;
  thread_local int64_t at = 0;
  if (const uint32_t now = expected().number(); now != number) number = now, at = 0;
  if (at >= most_bytes()) return false;
  const uintptr_t address = expected_weight(thread, at);
  if (address == 0) {
    at = most_bytes();
    return false;
  }
  for (int64_t line = 0; line < kPieceBytes; line += kLineBytes) {
    __builtin_prefetch(reinterpret_cast<const void*>(address + static_cast<uintptr_t>(line)), 0, 2);
  }
  at += kPieceBytes;
  return true;
}

/// What followed each weight the last time.
class Successors {
 public:
  static Successors& instance() {
    static Successors& successors = *new Successors;  // threads of the team may outlive what main() leaves behind
    return successors;
  }

  void announce(const Weights& weights) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    if (last_ != nullptr) {
      next_[last_] = weights;
    } else {
      base::set_idle_work(ask_for_piece);
    }
    if (next_.size() > kMostEntries) next_.clear();
    last_ = weights.front().first;
    const auto found = next_.find(last_);
    expected().set(found == next_.end() ? Weights{} : found->second);
  }

 private:
  static constexpr size_t kMostEntries = 16384;

  std::mutex mutex_;
  const std::byte* last_ = nullptr;
  std::unordered_map<const std::byte*, Weights> next_;  ///< by a product's first weight
};

}  // namespace

uintptr_t expected_weight(int thread, int64_t at) {
  return expected().address(thread, at);
}

void announce_weights(std::span<const WeightPanels> weights) {
  if (weights.empty() || weights.size() > kMostWeights || base::in_parallel() || base::thread_count() == 1) return;
  Weights all{};
  std::ranges::copy(weights, all.begin());
  Successors::instance().announce(all);
}

}  // namespace fledge::tensor::cpu
