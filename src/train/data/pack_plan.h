#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fledge::train {

/// Which of many pieces of different lengths share the rows of a given length: best fit, the longest pieces first
/// (Johnson, "Near-optimal bin packing algorithms", 1973). Every epoch places each piece once. The lengths that share a
/// row are the same in every epoch; which of the pieces of a length stand there, and the order of the rows, is drawn
/// anew: a function of the seed, the epoch and the row's number.
class PackPlan {
 public:
  /// Pieces of length 0 are left out. `lengths` are at most `row_length`.
  PackPlan(std::span<const int32_t> lengths, int64_t row_length, uint64_t seed);

  int64_t rows() const { return static_cast<int64_t>(row_begins_.size()) - 1; }
  /// The most pieces in one row.
  int64_t most_pieces() const { return most_pieces_; }
  /// Places of all rows that hold something.
  int64_t used_places() const { return used_places_; }
  /// The pieces of row `row` (below rows()) in an epoch, in their order.
  std::vector<int64_t> pieces(int64_t epoch, int64_t row) const;
  /// The same without anything drawn: for one pass in a fixed order.
  std::vector<int64_t> pieces_in_order(int64_t row) const;

 private:
  /// A place for a piece: the `rank`-th of the pieces of its length.
  struct Slot {
    int32_t length;
    int64_t rank;
  };
  void sort_by_length(std::span<const int32_t> lengths);
  void place(int64_t row_length);

  uint64_t seed_;
  std::vector<int64_t> by_length_;      ///< pieces, sorted by length
  std::vector<int64_t> length_begins_;  ///< in by_length_, for each length from 0 on, and the end
  std::vector<Slot> slots_;             ///< row after row
  std::vector<int64_t> row_begins_;     ///< in slots_, and the end
  int64_t most_pieces_ = 0, used_places_ = 0;
};

}  // namespace fledge::train
