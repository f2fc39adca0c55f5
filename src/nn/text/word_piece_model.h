#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/text/byte_trie.h"
#include "nn/text/token_model.h"
#include "nn/text/vocabulary.h"

namespace fledge::nn {

struct WordPieceOptions {
  int32_t unknown = 0;                   ///< stands for a whole word that cannot be put together
  std::string continuing_prefix = "##";  ///< how tokens are written that continue a word
  int64_t longest_word = 100;            ///< in characters; a longer word is unknown
};

/// WordPiece as BERT has it (Wu et al., "Google's Neural Machine Translation System", 2016; Devlin et al., "BERT",
/// 2019): from the left, the longest token that fits; where at one place none does, the whole piece is unknown.
class WordPieceModel : public TokenModel {
 public:
  WordPieceModel(std::span<const std::string> tokens, WordPieceOptions options);

  std::unique_ptr<Scratch> new_scratch() const override;
  void encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
              std::vector<int32_t>& ids) const override;
  int32_t size() const override { return vocabulary_.size(); }
  std::string_view token_bytes(int32_t id) const override { return vocabulary_.bytes(id); }
  std::optional<int32_t> token_id(std::string_view bytes) const override { return vocabulary_.find(bytes); }

  const WordPieceOptions& options() const { return options_; }

 private:
  void encode_piece(std::string_view piece, std::vector<int32_t>& parts) const;

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  ByteTrie beginning_, continuing_;
};

/// Each piece is one token; a piece that is not in the vocabulary is unknown.
class WordLevelModel : public TokenModel {
 public:
  /// Without `unknown`, a piece that has no token is an error.
  WordLevelModel(std::span<const std::string> tokens, std::optional<int32_t> unknown)
      : vocabulary_(tokens), unknown_(unknown) {}

  std::unique_ptr<Scratch> new_scratch() const override { return std::make_unique<Scratch>(); }
  void encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
              std::vector<int32_t>& ids) const override;
  int32_t size() const override { return vocabulary_.size(); }
  std::string_view token_bytes(int32_t id) const override { return vocabulary_.bytes(id); }
  std::optional<int32_t> token_id(std::string_view bytes) const override { return vocabulary_.find(bytes); }

 private:
  Vocabulary vocabulary_;
  std::optional<int32_t> unknown_;
};

}  // namespace fledge::nn
