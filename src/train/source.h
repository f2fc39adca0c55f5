#pragma once

#include <filesystem>
#include <memory>

#include "tensor/process_group.h"
#include "train/data/batch_source.h"
#include "train/recipe.h"

namespace fledge::train {

/// The data that a recipe's objective learns from. What must be prepared first is prepared into the run's folder by
/// process 0. Throws Error or UsageError where recipe and data do not fit.
std::unique_ptr<BatchSource> make_source(const Recipe& recipe, const std::filesystem::path& run_folder,
                                         tensor::ProcessGroup& processes);

}  // namespace fledge::train
