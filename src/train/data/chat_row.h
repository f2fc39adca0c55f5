#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/data/chat_tokens.h"

namespace fledge::train {

/// How many tokens of a conversation remain in a row of `places` tokens: one more than the places it takes, because the
/// last token is only predicted. All, where it fits; else up to the end of the last trained turn that fits whole; else,
/// where not even the first one does, as many as fit, so that its beginning is trained; 0 where nothing trained
/// remains.
int64_t kept_tokens(std::span<const TokenSpan> trained, int64_t length, int64_t places);

/// The same of two answers to one question that share a row: the longer one is cut at its end, but not below half of
/// the row, then the other. Both are 0 where one has nothing trained left.
struct KeptPair {
  int64_t first = 0, second = 0;
};
KeptPair kept_tokens_of_pair(std::span<const TokenSpan> first, int64_t first_length, std::span<const TokenSpan> second,
                             int64_t second_length, int64_t places, int64_t longest);

/// Whether each token is trained, up to `length`.
std::vector<bool> trained_mask(std::span<const TokenSpan> trained, int64_t length);

}  // namespace fledge::train
