#pragma once

#include <cstdint>
#include <string_view>

namespace fledge::base {

/// FNV-1a, 64 bits: a stable hash, the same on every machine and in every version. Not against an adversary.
constexpr uint64_t stable_hash(std::string_view text, uint64_t start = 0xcbf29ce484222325u) {
  for (const char c : text) start = (start ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return start;
}

}  // namespace fledge::base
