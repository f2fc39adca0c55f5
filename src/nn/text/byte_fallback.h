#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "nn/text/vocabulary.h"

namespace fledge::nn {

/// The tokens <0x00> to <0xFF> of a vocabulary, which stand for single bytes of characters that have no token.
class ByteFallback {
 public:
  explicit ByteFallback(const Vocabulary& vocabulary);

  /// Appends the tokens of the bytes, or nothing and returns false where one of them has no token.
  bool append(std::string_view bytes, std::vector<int32_t>& ids) const;

 private:
  std::array<int32_t, 256> ids_;  // -1 where there is none
};

}  // namespace fledge::nn
