#pragma once

#include <cstdint>
#include <span>

namespace fledge::infer {

/// Says which tokens may come next in one sequence: a regular expression or a JSON Schema compiled against a
/// vocabulary. Has a position in the text; one sequence, one thread at a time.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  /// Sets bit t % 64 of word t / 64 for every token t that may come next and clears all others; `mask` has
  /// ceil(V / 64) words. Tokens that end a text are not part of it: see may_end().
  virtual void allowed(std::span<uint64_t> mask) = 0;
  /// Whether the text may end here.
  virtual bool may_end() const = 0;
  /// Moves on by a token that allowed() had set.
  virtual void accept(int32_t token) = 0;
};

}  // namespace fledge::infer
