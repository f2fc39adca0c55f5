#include "train/tokenizer_source.h"

#include <memory>

#include "base/error.h"
#include "models/gguf_model.h"
#include "models/store.h"
#include "train/data/tokenizer_adapter.h"

namespace fledge::train {

std::filesystem::path tokenizer_path(const std::string& name) {
  return std::filesystem::exists(name) ? std::filesystem::path(name) : models::resolve_model(name);
}

nn::Tokenizer open_tokenizer(const std::string& name) {
  return models::load_tokenizer(tokenizer_path(name));
}

std::filesystem::path tokenizer_folder_of(const Recipe& recipe, const std::filesystem::path& data_folder) {
  return recipe.data.text.empty() && !recipe.data.tokenizer.empty() ? tokenizer_path(recipe.data.tokenizer)
                                                                    : data_folder;
}

DataIndex prepare_with_tokenizer(const PrepareOptions& options, const std::string& tokenizer_name) {
  const auto tokenizer = std::make_shared<const nn::Tokenizer>(open_tokenizer(tokenizer_name));
  DataIndex index = prepare_data(options, document_tokenizer(tokenizer));
  tokenizer->save(options.out);
  return index;
}

void require_same_tokenizer(const nn::Tokenizer& tokenizer, const TokenizerIdentity& identity,
                            const std::filesystem::path& tokenizer_folder, const std::filesystem::path& data_folder) {
  if (tokenizer_hash(tokenizer) == identity.hash) return;
  throw base::Error("{} was prepared with another tokenizer than {}; prepare it again with this one",
                    data_folder.string(), tokenizer_folder.string());
}

}  // namespace fledge::train
