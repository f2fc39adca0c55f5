#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace fledge::base {

/// Threads of the one OpenMP team that does all arithmetic.
inline int thread_count() {
  return omp_get_max_threads();
}
inline void set_thread_count(int threads) {
  omp_set_num_threads(threads);
}

/// Calls body(first, last) on contiguous parts of [0, count), one part per thread, in the calling thread when the work
/// is smaller than `grain` items or when already inside a parallel region. The split depends on `count`, `grain` and
/// the number of threads alone, so that a repeated run adds in the same order. The body must not throw.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int64_t useful = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const int threads = static_cast<int>(std::min<int64_t>(useful, thread_count()));
  if (threads == 1 || omp_in_parallel()) {
    body(int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t parts = omp_get_num_threads();
    const int64_t part = omp_get_thread_num();
    const int64_t first = count * part / parts;
    const int64_t last = count * (part + 1) / parts;
    if (first < last) body(first, last);
  }
}

/// Calls body(item) for every item of [0, count), handing items to threads as they become free. For items of unequal
/// cost whose results do not depend on who computes them. The body must not throw.
template <typename Body>
void parallel_dynamic(int64_t count, const Body& body) {
  if (count <= 1 || thread_count() == 1 || omp_in_parallel()) {
    for (int64_t item = 0; item < count; ++item) body(item);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t item = 0; item < count; ++item) body(item);
}

}  // namespace fledge::base
