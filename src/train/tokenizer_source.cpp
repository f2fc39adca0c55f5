#include "train/tokenizer_source.h"

#include <memory>

#include "base/error.h"
#include "train/data/tokenizer_adapter.h"

namespace fledge::train {

DataIndex prepare_with_tokenizer(const PrepareOptions& options, const std::filesystem::path& tokenizer_folder) {
  const auto tokenizer = std::make_shared<const nn::Tokenizer>(nn::Tokenizer::load(tokenizer_folder));
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
