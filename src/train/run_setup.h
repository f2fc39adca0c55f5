#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/data/token_data.h"
#include "train/recipe.h"

namespace fledge::train {

/// The range of flat parameters whose optimizer state this process keeps.
std::pair<int64_t, int64_t> shard_bounds(int64_t flat_size, const tensor::ProcessGroup& processes);
/// The bounds of all processes, size + 1 entries.
std::vector<int64_t> all_shard_bounds(int64_t flat_size, int processes);

/// Starting values: from the folder that model.path names, or drawn from the run's seed.
void initialize_values(const Recipe& recipe, models::LanguageModel& model);

/// A hash of the keys that decide what is computed, and of the data. Folders, names, threads, evaluation, samples and
/// checkpoints may change between a run and its resumption; these may not.
std::string recipe_identity(const Recipe& recipe, const TokenData& data);

/// Prepares the text files of a recipe into `folder`, unless it holds just that already.
void prepare_recipe_data(const Recipe& recipe, const std::filesystem::path& folder);

}  // namespace fledge::train
