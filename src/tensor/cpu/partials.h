#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace fledge::tensor::cpu {

/// Memory of the calling thread that is kept between calls and grows as needed; not cleared.
template <typename T>
T* kept_workspace(int64_t count) {
  static thread_local std::vector<T> memory;
  if (static_cast<int64_t>(memory.size()) < count) memory.resize(static_cast<size_t>(count));
  return memory.data();
}

/// Sums over the rows of a matrix, in blocks that depend on the number of rows alone, so that the result is the same
/// for every number of threads.
template <typename T>
class BlockedSums {
 public:
  BlockedSums(int64_t rows, int64_t width) : rows_(rows), width_(width) {
    constexpr int64_t kSmallestBlock = 64, kMostBlocks = 256;
    block_ = std::max(kSmallestBlock, (rows + kMostBlocks - 1) / kMostBlocks);
    blocks_ = (rows + block_ - 1) / block_;
    partials_ = kept_workspace<T>(blocks_ * width);
  }

  template <typename SumBlock>
  void sum(const SumBlock& sum_block) {
    base::parallel_for(blocks_, grain_of(block_ * width_), [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        sum_block(block * block_, std::min(rows_, (block + 1) * block_), partials_ + block * width_);
      }
    });
  }

  /// out [count] = or += the totals of the sums from `first_column` on, adding blocks in order. Once for every column.
  void add_to(T* out, int64_t first_column, int64_t count, bool accumulate) {
    base::parallel_for(count, std::max<int64_t>(64, grain_of(blocks_)), [&](int64_t first, int64_t last) {
      if (!accumulate) std::fill(out + first, out + last, T{0});
      if (blocks_ == 0) return;
      // The first block's partial sums become the totals.
      T* totals = partials_ + first_column;
      for (int64_t block = 1; block < blocks_; ++block) {
        const T* partial = partials_ + block * width_ + first_column;
        for (int64_t c = first; c < last; ++c) totals[c] += partial[c];
      }
      for (int64_t c = first; c < last; ++c) out[c] += totals[c];
    });
  }

 private:
  /// Items of that many additions that are worth a thread.
  static int64_t grain_of(int64_t additions) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, additions)); }

  int64_t rows_, width_, block_ = 1, blocks_ = 0;
  T* partials_ = nullptr;
};

}  // namespace fledge::tensor::cpu
