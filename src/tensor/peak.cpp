#include "tensor/peak.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/peak.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

using Clock = std::chrono::steady_clock;
using Loop = double (*)(int64_t rounds);

constexpr double kSecondsPerTry = 0.02;
constexpr int kTries = 5;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Loop loop_for(Precision precision) {
  const InstructionSet set = instruction_set();
  if (precision == Precision::bf16 && native_bf16()) {
    return set == InstructionSet::amx ? cpu::multiply_add_amx : cpu::multiply_add_avx512_bf16;
  }
  if (set >= InstructionSet::avx512) return cpu::multiply_add_avx512;
  return set >= InstructionSet::avx2 ? cpu::multiply_add_avx2 : cpu::multiply_add_baseline;
}

Loop int8_loop() {
  const InstructionSet set = instruction_set();
  if (set == InstructionSet::amx && cpu_features().amx_int8) return cpu::multiply_add_int8_amx;
  if (set >= InstructionSet::avx512 && cpu_features().avx512_vnni) return cpu::multiply_add_int8_avx512_vnni;
  return set >= InstructionSet::avx2 ? cpu::multiply_add_int8_avx2 : cpu::multiply_add_int8_baseline;
}

/// Operations per second of all threads over about kSecondsPerTry.
double try_once(Loop loop) {
  constexpr int64_t kRounds = 10000;
  struct Share {
    double operations = 0.0, seconds = 0.0;
  };
  std::vector<Share> shares(static_cast<size_t>(base::thread_count()));
  std::barrier together(static_cast<std::ptrdiff_t>(shares.size()));
  // Threads of their own: each must run its loop beside the others, and none may take another's.
  std::vector<std::thread> threads;
  for (Share& share : shares) {
    threads.emplace_back([&] {
      together.arrive_and_wait();
      const auto start = Clock::now();
      do {
        share.operations += loop(kRounds);
        share.seconds = seconds_since(start);
      } while (share.seconds < kSecondsPerTry);
    });
  }
  double operations = 0.0, longest = 0.0;
  for (std::thread& thread : threads) thread.join();
  for (const Share& share : shares) {
    operations += share.operations;
    longest = std::max(longest, share.seconds);
  }
  return operations / longest;
}

double best_of_tries(Loop loop) {
  double best = 0.0;
  for (int attempt = 0; attempt < kTries; ++attempt) best = std::max(best, try_once(loop));
  return best;
}

}  // namespace

double measure_peak_flops(Precision precision) {
  return best_of_tries(loop_for(precision));
}

double measure_peak_int8() {
  return best_of_tries(int8_loop());
}

double measure_read_bandwidth(size_t bytes) {
  Arena arena("bandwidth");
  const Tensor block = Tensor::zeros({static_cast<int64_t>(bytes / sizeof(int64_t))}, DType::i64, arena);
  const int64_t* words = block.data<int64_t>();
  const int64_t count = block.elements();
  const auto parts = static_cast<size_t>(base::thread_count());
  std::vector<int64_t> sums(parts * 8);
  constexpr int64_t kPrefetchWords = 768;
  double best = 0.0;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const auto start = Clock::now();
    base::parallel_for(count, 4096, [&](int64_t first, int64_t last) {
      int64_t lanes[8] = {};
      for (int64_t index = first; index + 8 <= last; index += 8) {
        __builtin_prefetch(words + index + kPrefetchWords);  // as the kernels of generation do
        for (int lane = 0; lane < 8; ++lane) lanes[lane] += words[index + lane];
      }
      sums[static_cast<size_t>(base::thread_index()) * 8] += std::accumulate(lanes, lanes + 8, int64_t{0});
    });
    best = std::max(best, static_cast<double>(block.bytes()) / seconds_since(start));
  }
  // The sum is zero; the compiler does not know.
  return best + static_cast<double>(std::accumulate(sums.begin(), sums.end(), int64_t{0}));
}

}  // namespace fledge::tensor
