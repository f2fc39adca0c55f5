#include "train/data/pack_plan.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "train/data/permutation.h"

namespace fledge::train {
namespace {

constexpr uint64_t kRowStream = 0x7061636b726f77;      // "packrow"
constexpr uint64_t kPieceStream = 0x7061636b00000000;  // "pack", and the length

}  // namespace

PackPlan::PackPlan(std::span<const int32_t> lengths, int64_t row_length, uint64_t seed) : seed_(seed) {
  for (const int32_t length : lengths) {
    if (length < 0 || length > row_length)
      throw base::Error("a piece of {} tokens does not fit into a row of {}", length, row_length);
  }
  sort_by_length(lengths);
  place(row_length);
}

void PackPlan::sort_by_length(std::span<const int32_t> lengths) {
  const int32_t longest = lengths.empty() ? 0 : *std::ranges::max_element(lengths);
  length_begins_.assign(static_cast<size_t>(longest) + 2, 0);
  for (const int32_t length : lengths) length_begins_[static_cast<size_t>(length) + 1] += length > 0 ? 1 : 0;
  for (size_t index = 1; index < length_begins_.size(); ++index) length_begins_[index] += length_begins_[index - 1];
  by_length_.resize(static_cast<size_t>(length_begins_.back()));
  std::vector<int64_t> next = length_begins_;
  for (size_t piece = 0; piece < lengths.size(); ++piece) {
    if (lengths[piece] == 0) continue;
    by_length_[static_cast<size_t>(next[static_cast<size_t>(lengths[piece])]++)] = static_cast<int64_t>(piece);
    used_places_ += lengths[piece];
  }
}

void PackPlan::place(int64_t row_length) {
  std::vector<std::vector<Slot>> rows;
  std::vector<std::vector<int64_t>> rows_with_space(static_cast<size_t>(row_length) + 1);
  std::set<int64_t> spaces;  // that some row has
  for (auto length = static_cast<int64_t>(length_begins_.size()) - 2; length > 0; --length) {
    const auto index = static_cast<size_t>(length);
    for (int64_t rank = 0; rank < length_begins_[index + 1] - length_begins_[index]; ++rank) {
      const auto best = spaces.lower_bound(length);
      int64_t space = row_length, row = 0;
      if (best == spaces.end()) {
        row = static_cast<int64_t>(rows.size());
        rows.emplace_back();
      } else {
        space = *best;
        std::vector<int64_t>& candidates = rows_with_space[static_cast<size_t>(space)];
        row = candidates.back();
        candidates.pop_back();
        if (candidates.empty()) spaces.erase(best);
      }
      rows[static_cast<size_t>(row)].push_back({static_cast<int32_t>(length), rank});
      rows_with_space[static_cast<size_t>(space - length)].push_back(row);
      spaces.insert(space - length);
    }
  }
  row_begins_.push_back(0);
  for (const std::vector<Slot>& row : rows) {
    slots_.insert(slots_.end(), row.begin(), row.end());
    row_begins_.push_back(static_cast<int64_t>(slots_.size()));
    most_pieces_ = std::max(most_pieces_, static_cast<int64_t>(row.size()));
  }
}

std::vector<int64_t> PackPlan::pieces(int64_t epoch, int64_t row) const {
  const auto number = static_cast<uint64_t>(epoch);
  const Permutation order(static_cast<uint64_t>(rows()), seed_, kRowStream, number);
  const auto place = static_cast<size_t>(order(static_cast<uint64_t>(row)));
  std::vector<int64_t> result;
  for (int64_t index = row_begins_[place]; index < row_begins_[place + 1]; ++index) {
    const Slot& slot = slots_[static_cast<size_t>(index)];
    const auto length = static_cast<size_t>(slot.length);
    const int64_t begin = length_begins_[length], count = length_begins_[length + 1] - begin;
    const Permutation drawn(static_cast<uint64_t>(count), seed_, kPieceStream + length, number);
    result.push_back(by_length_[static_cast<size_t>(begin) + drawn(static_cast<uint64_t>(slot.rank))]);
  }
  return result;
}

std::vector<int64_t> PackPlan::pieces_in_order(int64_t row) const {
  const auto place = static_cast<size_t>(row);
  std::vector<int64_t> result;
  for (int64_t index = row_begins_[place]; index < row_begins_[place + 1]; ++index) {
    const Slot& slot = slots_[static_cast<size_t>(index)];
    const int64_t begin = length_begins_[static_cast<size_t>(slot.length)];
    result.push_back(by_length_[static_cast<size_t>(begin + slot.rank)]);
  }
  return result;
}

}  // namespace fledge::train
