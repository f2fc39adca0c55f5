#pragma once

#include <string>
#include <vector>

#include "models/language_model.h"

namespace fledge::train {

/// Freezes every parameter of a model, which has no memory yet, but those that `names` mean: whole names
/// ("lm_head.weight") or some of their parts in a row ("lm_head", "layers.11", "self_attn.q_proj"). Throws UsageError
/// where one of them means no parameter, with the nearest right one, or a part of a matrix that is kept in one piece.
void freeze_all_but(const std::vector<std::string>& names, models::LanguageModel& model);

}  // namespace fledge::train
