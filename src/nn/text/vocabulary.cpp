#include "nn/text/vocabulary.h"

#include <bit>
#include <cstring>

namespace fledge::nn {
namespace {

uint64_t fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes) {
  uint64_t state = 0x9E3779B97F4A7C15u ^ bytes.size();
  const char* data = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; data += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, data, sizeof word);
    state = fold(state ^ word, 0xD6E8FEB86659FD93u);
  }
  uint64_t word = 0;
  if (left > 0) std::memcpy(&word, data, left);
  return fold(state ^ word, 0xA0761D6478BD642Fu);
}

Vocabulary::Vocabulary(std::span<const std::string> tokens) {
  size_t total = 0;
  for (const std::string& token : tokens) total += token.size();
  blob_.reserve(total);
  ends_.reserve(tokens.size());
  for (const std::string& token : tokens) {
    blob_ += token;
    ends_.push_back(blob_.size());
  }
  slots_.assign(std::bit_ceil(2 * tokens.size() + 2), -1);
  const size_t mask = slots_.size() - 1;
  for (int32_t id = 0; id < size(); ++id) {
    size_t slot = hash_bytes(bytes(id)) & mask;
    while (slots_[slot] >= 0 && bytes(slots_[slot]) != bytes(id)) slot = (slot + 1) & mask;
    if (slots_[slot] < 0) slots_[slot] = id;
  }
}

std::optional<int32_t> Vocabulary::find(std::string_view wanted) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash_bytes(wanted) & mask; slots_[slot] >= 0; slot = (slot + 1) & mask) {
    if (bytes(slots_[slot]) == wanted) return slots_[slot];
  }
  return std::nullopt;
}

}  // namespace fledge::nn
