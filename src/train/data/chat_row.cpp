#include "train/data/chat_row.h"

#include <algorithm>

namespace fledge::train {
namespace {

/// The first `tokens` tokens hold something to learn. The first token of a sequence is never predicted.
bool has_trained(std::span<const TokenSpan> trained, int64_t tokens) {
  return std::ranges::any_of(
      trained, [&](const TokenSpan& span) { return std::max(span.begin, 1) < std::min<int64_t>(span.end, tokens); });
}

}  // namespace

int64_t kept_tokens(std::span<const TokenSpan> trained, int64_t length, int64_t places) {
  if (trained.empty()) return 0;
  // What stands behind the last trained token has no use.
  length = std::min<int64_t>(length, trained.back().end);
  int64_t kept = length;
  if (length > places + 1) {
    kept = 0;
    for (const TokenSpan& span : trained) {
      if (span.end <= places + 1) kept = span.end;
    }
    if (kept == 0) kept = places + 1;
  }
  return has_trained(trained, kept) ? kept : 0;
}

KeptPair kept_tokens_of_pair(std::span<const TokenSpan> first, int64_t first_length, std::span<const TokenSpan> second,
                             int64_t second_length, int64_t places, int64_t longest) {
  if (first.empty() || second.empty()) return {};
  int64_t a = std::min<int64_t>(first_length, first.back().end) - 1;
  int64_t b = std::min<int64_t>(second_length, second.back().end) - 1;
  a = std::min(a, longest);
  b = std::min(b, longest);
  if (a + b > places) {
    const int64_t half = places / 2;
    if (a >= b) {
      a = std::max(half, places - b);
      b = std::min(b, places - a);
    } else {
      b = std::max(half, places - a);
      a = std::min(a, places - b);
    }
  }
  if (!has_trained(first, a + 1) || !has_trained(second, b + 1)) return {};
  return {a + 1, b + 1};
}

std::vector<bool> trained_mask(std::span<const TokenSpan> trained, int64_t length) {
  std::vector<bool> mask(static_cast<size_t>(length), false);
  for (const TokenSpan& span : trained) {
    for (int64_t place = span.begin; place < std::min<int64_t>(span.end, length); ++place)
      mask[static_cast<size_t>(place)] = true;
  }
  return mask;
}

}  // namespace fledge::train
