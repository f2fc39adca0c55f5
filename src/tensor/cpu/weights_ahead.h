#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// Making a token reads every weight once, and memory decides how long that takes. Between two products the threads that
// have nothing to do (the operations in between are small and mostly one thread's) ask memory for what the next product
// will have them read. Which one comes next is known from the last time.
namespace fledge::tensor::cpu {

/// Panels of a weight one behind the other.
struct WeightPanels {
  const std::byte* first = nullptr;
  int64_t bytes = 0;  ///< of a panel
  int64_t count = 0;
};

/// A product with more rows keeps its threads busy with arithmetic.
constexpr int64_t kRowsThatWait = 8;

/// To be called when a product of at most kRowsThatWait rows begins to read these panels, whose thread t of T takes the
/// t-th of T equal parts of all. Changes no result; never waits.
void announce_weights(std::span<const WeightPanels> weights);

/// The address of byte `at` of what thread `thread` is expected to read in the next product; 0 where it reads no such
/// byte or nothing is expected.
uintptr_t expected_weight(int thread, int64_t at);

}  // namespace fledge::tensor::cpu
