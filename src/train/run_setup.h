#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/chat_model.h"
#include "train/data/batch_source.h"
#include "train/data/chat_example.h"
#include "train/objective.h"
#include "train/recipe.h"

namespace fledge::train {

/// The type of activations for the recipe's key `precision`.
tensor::DType activation_type_of(const std::string& precision);

/// The range of flat parameters whose optimizer state this process keeps.
std::pair<int64_t, int64_t> shard_bounds(int64_t flat_size, const tensor::ProcessGroup& processes);
/// The bounds of all processes, size + 1 entries.
std::vector<int64_t> all_shard_bounds(int64_t flat_size, int processes);

/// The model of a recipe, without memory: of model.path (a folder, a name or a GGUF file), or a new one for the
/// tokenizer of the data; with the objective's head and what is trained beside it.
std::unique_ptr<models::LanguageModel> make_configured_model(const Recipe& recipe, const BatchSource& source,
                                                             Objective& objective);

/// Starting values: from what model.path names, the rest drawn from the run's seed.
void initialize_values(const Recipe& recipe, const Objective& objective, models::LanguageModel& model);

/// A hash of the keys that decide what is computed, and of the data. Folders, names, threads, evaluation, samples and
/// checkpoints may change between a run and its resumption; these may not.
std::string recipe_identity(const Recipe& recipe, const BatchSource& source);

/// Prepares the chat file of a recipe into `folder`, unless it holds just that already.
void prepare_recipe_chats(const Recipe& recipe, ChatPurpose purpose, const ChatModel& model,
                          const std::filesystem::path& folder);

/// Prepares the text files of a recipe into `folder`, unless it holds just that already.
void prepare_recipe_data(const Recipe& recipe, const std::filesystem::path& folder);

}  // namespace fledge::train
