#pragma once

#include <string>

#include "base/json.h"
#include "models/formats/gguf.h"
#include "nn/text/tokenizer.h"

namespace fledge::models {

/// The content of Hugging Face's tokenizer.json for the tokenizer in a GGUF file: byte-level BPE ("gpt2", with the
/// split that tokenizer.ggml.pre names), SentencePiece BPE ("llama") or WordPiece ("bert"). Where the file holds the
/// whole under tokenizer.huggingface.json, for the same tokens, it is that. Throws Error naming the file and the key
/// where something is missing or not supported.
base::Json tokenizer_json_of_gguf(const GgufReader& file);

/// The content of tokenizer_config.json: the names of the special tokens and the chat template.
base::Json tokenizer_config_of_gguf(const GgufReader& file);

/// The tokenizer itself.
nn::Tokenizer tokenizer_of_gguf(const GgufReader& file);

/// Adds the tokenizer's part of a GGUF file's metadata for a tokenizer.json and a tokenizer_config.json. A vocabulary
/// smaller than the model's `vocabulary_size` is filled with unused tokens. The whole tokenizer.json is put in too.
/// Throws Error naming `origin` where GGUF has no name for this kind of tokenizer.
void add_tokenizer(const base::Json& tokenizer, const base::Json& config, int64_t vocabulary_size,
                   const std::string& origin, GgufMetadata& metadata);

/// tokenizer.ggml.pre's meaning: the sections "normalizer" and "pre_tokenizer" of tokenizer.json. Throws Error naming
/// `origin` for a name that is not known.
struct GgufSplit {
  base::Json normalizer, pre_tokenizer;
  bool ignore_merges = false;  ///< a piece that is a token stays whole
};
GgufSplit split_of_gguf(const std::string& pre, const std::string& origin);
/// The opposite: the name for such sections.
std::string gguf_name_of_split(const base::Json& pre_tokenizer, const std::string& origin);

}  // namespace fledge::models
