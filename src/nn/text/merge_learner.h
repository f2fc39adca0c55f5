#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fledge::nn {

/// The second half of BPE training: pieces with their counts in, merges out. Every pair of neighbouring tokens has a
/// count and a list of the pieces it occurs in; a merge touches those pieces alone. Frequencies in the queue may be out
/// of date and are corrected when they come to the top.
class MergeLearner {
 public:
  /// A piece enters as the tokens of its bytes.
  void add_piece(std::span<const int32_t> tokens, int64_t count);

  /// Merges pairs until `next_token` returns false or no pair occurs `min_frequency` times. For each pair in turn,
  /// `next_token(left, right, id)` sets the id of the joint token, or returns false to stop.
  void run(int64_t min_frequency, const std::function<bool(int32_t, int32_t, int32_t&)>& next_token);

 private:
  struct Pair {
    uint64_t key;
    int64_t count;
    int32_t last_piece;  // the last piece that was noted for the pair in this round
    uint32_t noted;      // how many pieces were noted for it in this round
    uint32_t place;      // where in the arena its next piece goes
  };
  struct Note {
    uint32_t pair;
    int32_t piece;
  };
  struct Candidate {
    int64_t count;
    uint64_t key;  // left token in the upper half: keys rise with (left, right)
    uint32_t pair;
    uint32_t begin, end;  // its pieces in the arena
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };
  struct Piece {
    size_t begin;
    uint32_t length;
    int64_t count;
  };

  uint32_t pair_index(int32_t left, int32_t right);
  void grow_index();
  void note(int32_t left, int32_t right, int32_t piece);
  void queue_noted(int64_t min_frequency);
  void merge_in_piece(int32_t piece, uint64_t key, int32_t id);

  std::vector<int32_t> tokens_;  // of all pieces, one after the other
  std::vector<Piece> pieces_;
  std::vector<Pair> pairs_;
  std::vector<uint32_t> index_;  // open addressing by key into pairs_, +1; 0 is free
  std::vector<Note> notes_;      // occurrences that came up in this round
  std::vector<uint32_t> touched_;
  std::vector<int32_t> arena_;
  std::vector<Candidate> queue_;
};

}  // namespace fledge::nn
