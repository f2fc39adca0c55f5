#include "train/objectives/chat.h"

#include "base/json.h"

namespace fledge::train {

void fit_vocabulary(base::Json& config, const nn::Tokenizer& tokenizer) {
  const auto found = config.find("vocab_size");
  if (found == config.end() || !found->is_number_integer()) return;
  if (found->get<int64_t>() < tokenizer.vocabulary_size()) *found = tokenizer.vocabulary_size();
}

}  // namespace fledge::train
