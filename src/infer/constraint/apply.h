#pragma once

#include <cstdint>
#include <span>

#include "infer/token_constraint.h"

namespace fledge::infer {

/// Sets the logits [V] of all tokens that the constraint does not allow to minus infinity. Tokens that end a text stay
/// where the text may end, and only there. Returns false where nothing may follow: the text ends here.
bool apply_constraint(std::span<float> logits, TokenConstraint& constraint, std::span<const int32_t> end_tokens);

}  // namespace fledge::infer
