#pragma once

#include <filesystem>
#include <string>

#include "nn/text/tokenizer.h"
#include "train/data/prepare.h"
#include "train/data/token_data.h"
#include "train/recipe.h"

namespace fledge::train {

/// Where a recipe's tokenizer lies: a folder or file of that name, or else a model of that name in the store.
std::filesystem::path tokenizer_path(const std::string& name);

/// The tokenizer of a folder or file, of a model by its name in the store, or of a GGUF file.
nn::Tokenizer open_tokenizer(const std::string& name);

/// The folder of a recipe's tokenizer: that of the prepared data, unless data.path comes with data.tokenizer.
std::filesystem::path tokenizer_folder_of(const Recipe& recipe, const std::filesystem::path& data_folder);

/// prepare_data() with a tokenizer (see open_tokenizer()), which also goes into the data set's folder, so that a model
/// trained on the data finds it.
DataIndex prepare_with_tokenizer(const PrepareOptions& options, const std::string& tokenizer_name);

/// Throws Error where the data was made with another tokenizer.
void require_same_tokenizer(const nn::Tokenizer& tokenizer, const TokenizerIdentity& identity,
                            const std::filesystem::path& tokenizer_folder, const std::filesystem::path& data_folder);

}  // namespace fledge::train
