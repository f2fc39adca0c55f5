#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "nn/text/added_tokens.h"
#include "nn/text/decoder.h"
#include "nn/text/normalizer.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/token_model.h"

namespace fledge::nn {

/// The steps of a tokenizer, as Hugging Face's tokenizer.json has them.
struct TokenizerParts {
  std::unique_ptr<TokenModel> model;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::vector<AddedToken> added_tokens;
  bool normalize_to_nfc = false;              ///< instead of `normalization`
  std::unique_ptr<Normalizer> normalization;  ///< null: text stays as it is
  /// Null: tokens are bytes, and a text is its tokens' bytes one after the other. Otherwise tokens are made of
  /// characters, bytes that are not UTF-8 are read as U+FFFD, and this makes text of tokens.
  std::unique_ptr<Decoder> decoding;
  bool add_prefix_space = false;        ///< a space goes before a text that does not begin with one
  std::vector<int32_t> prefix, suffix;  ///< what the post-processor puts around a text
  std::set<int32_t> literal_tokens;     ///< written to tokenizer.json as they are, not in the byte alphabet

  // Sections of tokenizer.json that are written back as they were read.
  base::Json normalizer, pre_tokenizer_section, post_processor, decoder, truncation, padding;
  base::Json model_section;  ///< the options of the model, without vocabulary and merges; null: those of byte-level BPE
  base::Json config;         ///< tokenizer_config.json: the names of the special tokens, the chat template
};

/// The model of a tokenizer.json and everything around it. `origin` names the text in errors.
TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view origin);

/// The text of tokenizer.json.
std::string tokenizer_json(const TokenizerParts& parts);

/// GPT-2's older pair of files; `config` is the folder's tokenizer_config.json, or null.
TokenizerParts parse_vocabulary_and_merges(std::string_view vocabulary, std::string_view vocabulary_origin,
                                           std::string_view merges, std::string_view merges_origin, base::Json config);

/// A SentencePiece model (a protobuf; kinds BPE and Unigram): gives the tokens of the SentencePiece library for text in
/// which no special token is looked for. Control tokens and the unknown one are special added tokens. Saved as
/// tokenizer.json it becomes what Hugging Face makes of such models, which can differ where the model's character map
/// changes text, or in near ties.
TokenizerParts parse_sentence_piece(std::string_view bytes, std::string_view origin);

/// OpenAI's rank file: on each line a token in base64 and its rank. No special tokens.
TokenizerParts parse_tiktoken(std::string_view text, std::string_view origin, SplitPattern pattern);

/// The section "pre_tokenizer" of tokenizer.json for byte-level BPE with one of the known patterns.
base::Json pre_tokenizer_section(SplitPattern pattern);

}  // namespace fledge::nn
