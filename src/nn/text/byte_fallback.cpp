#include "nn/text/byte_fallback.h"

#include <fmt/format.h>

#include <algorithm>

namespace fledge::nn {

ByteFallback::ByteFallback(const Vocabulary& vocabulary) {
  for (size_t byte = 0; byte < ids_.size(); ++byte) {
    ids_[byte] = vocabulary.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

bool ByteFallback::append(std::string_view bytes, std::vector<int32_t>& ids) const {
  const auto id_of = [&](char byte) { return ids_[static_cast<uint8_t>(byte)]; };
  if (!std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return id_of(byte) >= 0; })) return false;
  for (const char byte : bytes) ids.push_back(id_of(byte));
  return true;
}

}  // namespace fledge::nn
