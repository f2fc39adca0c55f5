#pragma once

#include <cstdint>
#include <exception>
#include <mutex>

#include "base/parallel.h"

namespace fledge::nn {

/// base::parallel_dynamic for a body that may throw: the first exception is thrown again when all items are done.
template <typename Body>
void guarded_parallel(int64_t count, const Body& body) {
  std::exception_ptr failure;
  std::mutex mutex;
  base::parallel_dynamic(count, [&](int64_t item) {
    try {
      body(item);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace fledge::nn
