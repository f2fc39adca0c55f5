#pragma once

#include <filesystem>

#include "models/model_io.h"

namespace fledge::train {

/// models::read_values() for a model that was given more tokens than its file has: the rows of each new token are the
/// mean of all old rows (Hewitt, "Initializing new word embeddings for pretrained language models", 2021).
void read_values_of_smaller_vocabulary(models::LanguageModel& model, const std::filesystem::path& path,
                                       const models::MayLack& may_lack);

}  // namespace fledge::train
