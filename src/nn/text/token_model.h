#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace fledge::nn {

/// Turns pieces of text into token ids. Immutable after construction, so that threads may share it.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  /// Working memory of one thread: caches and scratch.
  class Scratch {
   public:
    virtual ~Scratch() = default;
  };
  virtual std::unique_ptr<Scratch> new_scratch() const = 0;

  /// Appends the ids of each piece to `ids`. Bytes up to `readable_end` may be read behind a piece; it is at or after
  /// the end of the last piece, or null where nothing behind a piece may be read. `scratch` came from this model's
  /// new_scratch() and serves one thread at a time.
  virtual void encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
                      std::vector<int32_t>& ids) const = 0;

  /// Number of tokens; ids run from 0 without a hole.
  virtual int32_t size() const = 0;

  /// The bytes that a token stands for; `id` in [0, size()).
  virtual std::string_view token_bytes(int32_t id) const = 0;

  /// The token of exactly these bytes.
  virtual std::optional<int32_t> token_id(std::string_view bytes) const = 0;
};

}  // namespace fledge::nn
