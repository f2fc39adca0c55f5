#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fledge::tensor::cpu {

/// How many spaces parallel_in_spaces() hands out, asked by its caller: one for each thread, or one alone inside of
/// parallel work, where the caller does everything.
inline int parallel_spaces() {
  return base::in_parallel() ? 1 : base::thread_count();
}

/// base::parallel_dynamic() with body(item, space): nobody else uses that space, below parallel_spaces(), meanwhile.
template <typename Body>
void parallel_in_spaces(int64_t count, const Body& body) {
  const bool alone = base::in_parallel();
  base::parallel_dynamic(count, [&](int64_t item) { body(item, alone ? 0 : base::thread_index()); });
}

}  // namespace fledge::tensor::cpu
