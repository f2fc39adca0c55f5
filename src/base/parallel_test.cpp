// The team: every part once, whoever calls, however many threads there are and whatever else they do.
#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace fledge::base {
namespace {

/// Sets the number of threads for one test.
struct Threads {
  int before = thread_count();
  explicit Threads(int threads) { set_thread_count(threads); }
  ~Threads() { set_thread_count(before); }
};

TEST(Parallel, EveryItemIsVisitedOnceInTheSameParts) {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads set(threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
      std::atomic<int> parts = 0;
      const int64_t used = std::min<int64_t>(count, threads == 1 ? 1 : threads * parts_per_thread());
      parallel_for(count, 1, [&](int64_t first, int64_t last) {
        EXPECT_LT(first, last);
        bool is_begin = false;
        for (int64_t part = 0; part < used; ++part)
          is_begin |= first == count * part / used && last == count * (part + 1) / used;
        EXPECT_TRUE(is_begin) << first << " to " << last;
        for (int64_t item = first; item < last; ++item) visits[static_cast<size_t>(item)] += 1;
        parts += 1;
      });
      for (const auto& visit : visits) EXPECT_EQ(visit, 1);
      EXPECT_EQ(parts, used);
    }
  }
}

TEST(Parallel, SmallWorkStaysWithTheCaller) {
  const Threads set(4);
  const auto caller = std::this_thread::get_id();
  int calls = 0;
  parallel_for(99, 100, [&](int64_t first, int64_t last) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(first, 0);
    EXPECT_EQ(last, 99);
    calls += 1;
  });
  EXPECT_EQ(calls, 1);
}

TEST(Parallel, ManyShortRoundsLoseNothing) {
  const Threads set(3);
  std::vector<int64_t> values(64);
  for (int round = 0; round < 20000; ++round) {
    parallel_for(64, 1, [&](int64_t first, int64_t last) {
      for (int64_t item = first; item < last; ++item) values[static_cast<size_t>(item)] += item;
    });
  }
  for (size_t item = 0; item < values.size(); ++item) EXPECT_EQ(values[item], 20000 * static_cast<int64_t>(item));
}

TEST(Parallel, RoundsAfterSleepAndOfChangingSizeAreWhole) {
  for (int round = 0; round < 200; ++round) {
    const Threads set(1 + round % 5);
    if (round % 40 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<int64_t> sum = 0;
    parallel_dynamic(round, [&](int64_t item) {
      EXPECT_LT(thread_index(), 1 + round % 5);
      sum += item;
    });
    EXPECT_EQ(sum, int64_t{round} * (round - 1) / 2);
  }
}

/// A thread that looks for a part of a round just as the next, larger one begins must find none of either.
TEST(Parallel, ALargerRoundAfterASmallerOneIsWhole) {
  const Threads set(4);
  for (int round = 0; round < 100000; ++round) {
    const int64_t parts = round % 2 == 0 ? 2 : 40;
    std::atomic<int> visits[40] = {};
    parallel_dynamic(parts, [&](int64_t part) { visits[part] += 1; });
    for (int64_t part = 0; part < 40; ++part) {
      ASSERT_EQ(visits[part], part < parts ? 1 : 0) << "part " << part << " of " << parts << " in round " << round;
    }
  }
}

TEST(Parallel, WorkWithinWorkStaysOnItsThread) {
  const Threads set(4);
  std::atomic<int> inner = 0;
  EXPECT_FALSE(in_parallel());
  parallel_for(4, 1, [&](int64_t, int64_t) {
    EXPECT_TRUE(in_parallel());
    const auto outer = std::this_thread::get_id();
    parallel_for(100, 1, [&](int64_t first, int64_t last) {
      EXPECT_EQ(std::this_thread::get_id(), outer);
      EXPECT_EQ(last - first, 100);
      inner += 1;
    });
  });
  EXPECT_EQ(inner, 4);
  EXPECT_FALSE(in_parallel());
}

TEST(Parallel, SeveralCallersEachGetTheirWork) {
  const Threads set(3);
  std::vector<std::thread> callers;
  std::atomic<int64_t> total = 0;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        std::vector<int64_t> items(300);
        parallel_for(300, 1, [&](int64_t first, int64_t last) {
          for (int64_t item = first; item < last; ++item) items[static_cast<size_t>(item)] = item;
        });
        total += std::accumulate(items.begin(), items.end(), int64_t{0});
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, int64_t{4} * 500 * 300 * 299 / 2);
}

TEST(Parallel, WhoWaitsDoesIdleWork) {
  const Threads set(2);
  static std::atomic<int64_t> calls = 0;
  set_idle_work([](int thread) {
    EXPECT_TRUE(thread == 0 || thread == 1);
    ++calls;
    return true;
  });
  // One part ends only when the thread that has finished the other is seen to be idle.
  std::atomic<int> finished = 0;
  parallel_dynamic(2, [&](int64_t item) {
    while (item == 0 && calls == 0) std::this_thread::yield();
    ++finished;
  });
  set_idle_work(nullptr);
  EXPECT_GT(calls, 0);
  EXPECT_EQ(finished, 2);
}

}  // namespace
}  // namespace fledge::base
