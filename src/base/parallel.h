#pragma once

#include <algorithm>
#include <cstdint>

namespace fledge::base {

/// Threads of the one team that does all arithmetic: what OMP_NUM_THREADS says, or one for each core that this process
/// may use, until set_thread_count() says otherwise.
int thread_count();
void set_thread_count(int threads);

/// The calling thread's number in the team, below thread_count(): 0 outside of parallel work.
int thread_index();
/// Whether the calling thread is inside of parallel work.
bool in_parallel();

/// What a thread of the team (its number is given) does while it waits for work or for others: something that takes
/// well below a microsecond. Returns whether it did anything.
using IdleWork = bool(int thread);
/// Sets the only one for the whole program; null: nothing.
void set_idle_work(IdleWork* work);

/// Calls call(body, part) once for every part of [0, parts), on up to `threads` threads of the team. The caller works
/// too, and waits only for parts that others have begun: a thread that the system does not let run holds nobody up,
/// and on a busy machine the caller does the work alone. Idle threads look for work for some microseconds and then
/// sleep. Where another thread is using the team, the caller does all parts, in order.
void run_parts(int64_t parts, int threads, void (*call)(const void* body, int64_t part), const void* body);

/// Parts for each thread where there is enough work: one on a machine whose cores are alike, since every cut costs (a
/// product packs its operands anew, memory is read past each end); four where some cores are slower than others, whose
/// equal halves would decide.
int64_t parts_per_thread();

/// Calls body(first, last) on contiguous parts of [0, count) of at least `grain` items, a few for each thread, in the
/// calling thread when the work is smaller or when already inside of parallel work. The split depends on `count`,
/// `grain` and the number of threads alone, so that a repeated run adds in the same order. The body must not throw.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int64_t useful = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const int threads = static_cast<int>(std::min<int64_t>(useful, thread_count()));
  if (threads == 1 || in_parallel()) {
    body(int64_t{0}, count);
    return;
  }
  const int64_t parts = std::min(useful, threads * parts_per_thread());
  const auto run_part = [&](int64_t part) {
    const int64_t first = count * part / parts, last = count * (part + 1) / parts;
    if (first < last) body(first, last);
  };
  using Part = decltype(run_part);
  run_parts(
      parts, threads, [](const void* part_body, int64_t part) { (*static_cast<const Part*>(part_body))(part); },
      &run_part);
}

/// Calls body(item) for every item of [0, count), handing items to threads as they become free. For items of unequal
/// cost whose results do not depend on who computes them. The body must not throw.
template <typename Body>
void parallel_dynamic(int64_t count, const Body& body) {
  if (count <= 1 || thread_count() == 1 || in_parallel()) {
    for (int64_t item = 0; item < count; ++item) body(item);
    return;
  }
  run_parts(
      count, thread_count(), [](const void* item_body, int64_t item) { (*static_cast<const Body*>(item_body))(item); },
      &body);
}

}  // namespace fledge::base
