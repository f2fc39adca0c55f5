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

/// How the panels of a weight are cut among threads that wait for memory, whose speed nobody knows beforehand: a share
/// for each, in three quarters and one, which whoever has finished takes from another. (Smaller cuts cost more than
/// they save.) Where there is no need, or where panels are few, equal parts alone.
class PanelParts {
 public:
  /// `parts` equal ones, or with `uneven` two for each.
  PanelParts(int64_t panels, int64_t parts, bool uneven)
      : panels_(panels),
        uneven_(uneven && parts > 1 && panels >= kFewPanels * parts),
        count_(uneven_ ? 2 * parts : parts) {}

  int64_t count() const { return count_; }
  int64_t first(int64_t part) const {
    const int64_t quarters = uneven_ ? part / 2 * 4 + part % 2 * 3 : part;
    return panels_ * quarters / (uneven_ ? 2 * count_ : count_);
  }
  int64_t end(int64_t part) const { return first(part + 1); }

 private:
  static constexpr int64_t kFewPanels = 8;

  int64_t panels_;
  bool uneven_;
  int64_t count_;
};

}  // namespace fledge::tensor::cpu
