#pragma once

#include "base/json_fwd.h"
#include "train/recipe.h"

namespace fledge::train {

/// The config.json of the new model that a recipe describes, for a tokenizer of `tokens` tokens. Throws UsageError
/// where model.vocab_size is smaller than that.
base::Json new_model_config(const Recipe::Model& model, int64_t tokens, int64_t end_of_text_id);

/// The model with the family and sizes of its preset in place; which keys those are, the preset decides. Throws
/// UsageError for an unknown preset.
Recipe::Model preset_model(Recipe::Model model);

/// Checks the keys of a new model against each other and against what its family has. Throws UsageError naming
/// `origin`.
void check_new_model(const Recipe::Model& model, std::string_view origin);

}  // namespace fledge::train
