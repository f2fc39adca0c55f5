#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::nn {

/// A list of tokens as bytes, with a hash index from bytes to id. Two tokens may not have the same bytes unless one of
/// them is unreachable; the index then holds the lower id.
class Vocabulary {
 public:
  explicit Vocabulary(std::span<const std::string> tokens);

  int32_t size() const { return static_cast<int32_t>(ends_.size()); }

  std::string_view bytes(int32_t id) const {
    const size_t begin = id == 0 ? 0 : ends_[static_cast<size_t>(id) - 1];
    return {blob_.data() + begin, ends_[static_cast<size_t>(id)] - begin};
  }

  std::optional<int32_t> find(std::string_view bytes) const;

 private:
  std::string blob_;
  std::vector<size_t> ends_;
  std::vector<int32_t> slots_;  // open addressing by hash of the bytes; -1 is free
};

/// A 64-bit hash of bytes; not for storage, may change.
uint64_t hash_bytes(std::string_view bytes);

}  // namespace fledge::nn
