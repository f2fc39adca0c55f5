#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json_fwd.h"
#include "nn/text/bpe_model.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {

// Ids become rows of an embedding: greater ones are a mistake or an attack.
constexpr int64_t kGreatestTokenId = 10'000'000;

/// Whether the section "model" is BPE on bytes, as far as the section alone can tell: no unknown token takes the place
/// of bytes, and nothing marks the ends of words.
bool is_bpe_on_bytes(const base::Json& model, std::string_view origin);

/// Fills the model of `parts` from the section "model" of tokenizer.json. With `on_bytes` its names are in the byte
/// alphabet. Throws base::Error naming `origin` and what is wrong.
void parse_model(const base::Json& model, bool on_bytes, TokenizerParts& parts, std::string_view origin);

/// Appends the section "model" of `parts`, with its key.
void append_model(const TokenizerParts& parts, std::string& text);

/// The names of a vocabulary {"name": id, ...} by id. Added tokens fill the ids that it leaves out.
std::vector<std::string> parse_vocabulary(const base::Json& vocabulary, std::span<const AddedToken> added,
                                          std::string_view origin);

/// Makes the merges of a BPE model from names. Keeps a reference to the names.
class BpeMergeReader {
 public:
  /// `continuing_prefix` is left out where the second part joins the first.
  BpeMergeReader(const std::vector<std::string>& names, std::string_view continuing_prefix, std::string_view origin);

  void add(std::string_view left, std::string_view right);
  /// A merge in one string, its parts separated by a space.
  void add(std::string_view line);

  std::vector<BpeMerge> take() { return std::move(merges_); }

 private:
  std::string_view continuing_prefix_, origin_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<BpeMerge> merges_;
};

/// Makes the model of byte-level BPE from names in the byte alphabet.
void set_byte_level_bpe(const std::vector<std::string>& names, std::vector<BpeMerge> merges, bool whole_piece_first,
                        TokenizerParts& parts);

}  // namespace fledge::nn
