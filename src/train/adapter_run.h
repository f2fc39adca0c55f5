#pragma once

#include <memory>

#include "models/adapters/model_adapter.h"
#include "models/language_model.h"
#include "train/recipe.h"

namespace fledge::train {

/// Whether a recipe trains an adapter over a frozen model.
inline bool trains_adapter(const Recipe& recipe) {
  return recipe.adapter.kind != "none" || !recipe.adapter.from.empty();
}

/// The adapter that a recipe describes, declared on its model before memory is allocated; null where it has none.
/// Throws UsageError where a target matches no layer of the model.
std::unique_ptr<models::ModelAdapter> add_adapter(const Recipe& recipe, models::LanguageModel& model);

/// The values that it starts with: those of adapter.from, or for an adapter that changes nothing yet, of the seed.
void initialize_adapter(const Recipe& recipe, models::ModelAdapter& adapter, nn::Memory& memory);

/// Before memory is allocated: keeps the frozen base as adapter.base says. Arithmetic in bf16 needs no f32 beside bf16.
void keep_base(const Recipe& recipe, models::LanguageModel& model, tensor::DType activation_type, tensor::Arena& arena);

/// Arithmetic of a step with a frozen base, of the arithmetic of a full one: a weight's own gradient is not computed,
/// and what the adapter adds counts in full.
double adapted_flops(double full_flops, int64_t model_parameters, int64_t adapter_parameters);

}  // namespace fledge::train
