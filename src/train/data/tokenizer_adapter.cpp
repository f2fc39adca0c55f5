#include "train/data/tokenizer_adapter.h"

#include "base/error.h"
#include "nn/text/tokenizer_parts.h"
#include "train/data/sha256.h"

namespace fledge::train {

std::string tokenizer_hash(const nn::Tokenizer& tokenizer) {
  return sha256(nn::tokenizer_json(tokenizer.parts()));
}

int32_t end_of_text_token(const nn::Tokenizer& tokenizer) {
  if (const auto named = tokenizer.end_token()) return *named;
  // BERT's tokenizers end a text with their separator.
  if (const auto separator = tokenizer.separator_token()) return *separator;
  if (const auto usual = tokenizer.token_id("<|endoftext|>")) return *usual;
  throw base::Error(
      "the tokenizer has no token that ends a text: name one as \"eos_token\" in its tokenizer_config.json, or train "
      "it "
      "with --special '<|endoftext|>'");
}

DocumentTokenizer document_tokenizer(std::shared_ptr<const nn::Tokenizer> tokenizer) {
  DocumentTokenizer result;
  result.identity = {tokenizer_hash(*tokenizer), tokenizer->vocabulary_size(), end_of_text_token(*tokenizer)};
  const auto& parts = tokenizer->parts();
  result.splits_at_lines = parts.pre_tokenizer && parts.pre_tokenizer->breaks_after_lines() && !parts.normalization &&
                           !parts.add_prefix_space;
  result.encode = [tokenizer = std::move(tokenizer)](std::string_view text, std::vector<int32_t>& ids) {
    tokenizer->encode_to(text, {.add_special = false, .match_special = false}, ids);
  };
  return result;
}

}  // namespace fledge::train
