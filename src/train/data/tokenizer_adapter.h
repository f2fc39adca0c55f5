#pragma once

#include <memory>
#include <string>

#include "nn/text/tokenizer.h"
#include "train/data/prepare.h"

namespace fledge::train {

/// What tells tokenizers apart: the SHA-256 of everything that decides which ids a text becomes.
std::string tokenizer_hash(const nn::Tokenizer& tokenizer);

/// The token that ends a text: the one that tokenizer_config.json names as eos_token, or else `<|endoftext|>`. Throws
/// Error where there is neither.
int32_t end_of_text_token(const nn::Tokenizer& tokenizer);

/// A tokenizer as preparing data needs it. Text that looks like a special token becomes ordinary tokens.
DocumentTokenizer document_tokenizer(std::shared_ptr<const nn::Tokenizer> tokenizer);

}  // namespace fledge::train
