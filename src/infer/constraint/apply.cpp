#include "infer/constraint/apply.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"

namespace fledge::infer {

bool apply_constraint(std::span<float> logits, TokenConstraint& constraint, std::span<const int32_t> end_tokens) {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  std::vector<uint64_t> mask((logits.size() + 63) / 64);
  constraint.allowed(mask);
  if (logits.size() % 64 != 0) mask.back() &= (uint64_t{1} << logits.size() % 64) - 1;
  const auto bit = [](int32_t token) { return uint64_t{1} << static_cast<size_t>(token) % 64; };
  std::vector<int32_t> ends;
  for (const int32_t token : end_tokens) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) continue;
    ends.push_back(token);
    mask[static_cast<size_t>(token) / 64] &= ~bit(token);
  }
  if (std::ranges::all_of(mask, [](uint64_t word) { return word == 0; })) {
    if (constraint.may_end()) return false;
    throw base::Error("the constraint cannot be met: no token of the vocabulary may come next");
  }
  if (constraint.may_end()) {
    for (const int32_t token : ends) mask[static_cast<size_t>(token) / 64] |= bit(token);
  }
  for (size_t word = 0; word < mask.size(); ++word) {
    if (mask[word] == ~uint64_t{0}) continue;
    const std::span<float> part = logits.subspan(word * 64, std::min<size_t>(64, logits.size() - word * 64));
    if (mask[word] == 0) {
      std::ranges::fill(part, kForbidden);
      continue;
    }
    // A choice between two values, not a branch: the compiler makes masked moves of it.
    for (size_t index = 0; index < part.size(); ++index) {
      part[index] = (mask[word] >> index & 1) != 0 ? part[index] : kForbidden;
    }
  }
  return true;
}

}  // namespace fledge::infer
