#pragma once

#include <filesystem>

#include "nn/text/tokenizer.h"
#include "train/data/prepare.h"
#include "train/data/token_data.h"

namespace fledge::train {

/// prepare_data() with the tokenizer of a folder, which also goes into the data set's folder, so that a model trained
/// on the data finds it.
DataIndex prepare_with_tokenizer(const PrepareOptions& options, const std::filesystem::path& tokenizer_folder);

/// Throws Error where the data was made with another tokenizer.
void require_same_tokenizer(const nn::Tokenizer& tokenizer, const TokenizerIdentity& identity,
                            const std::filesystem::path& tokenizer_folder, const std::filesystem::path& data_folder);

}  // namespace fledge::train
