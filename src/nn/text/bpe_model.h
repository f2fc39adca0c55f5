#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "nn/text/byte_fallback.h"
#include "nn/text/token_model.h"
#include "nn/text/vocabulary.h"

namespace fledge::nn {

/// Two neighbouring tokens that become one. Merges of lower rank come first; of equal rank, the leftmost.
struct BpeMerge {
  int32_t left, right, result;
  uint32_t rank;
};

/// How a piece begins where its symbols are characters, as in SentencePiece and the older files.
struct BpeCharacters {
  std::string continuing_prefix;   ///< goes before every character but the first one of a piece
  std::string end_suffix;          ///< goes behind the last character of a piece
  std::optional<int32_t> unknown;  ///< stands for characters that have no token; without it they are left out
  bool fuse_unknown = false;       ///< one `unknown` for a run of them
  bool byte_fallback = false;      ///< before that: the tokens <0x00> to <0xFF> of its bytes
  std::vector<bool> never_split;   ///< by id: a piece that is such a token is never taken apart; or empty
  std::vector<bool> unused;        ///< by id: tokens that are taken apart again when they come out; or empty
};

/// Byte-pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016): a piece
/// begins as its bytes (as in GPT-2) or as its characters, and the pair of neighbours of lowest rank is merged until no
/// pair of the table is left.
class BpeModel : public TokenModel {
 public:
  /// `tokens` are the bytes of each id, `merges` in any order with valid ids; of two for the same pair the later one
  /// holds. With `whole_piece_first`, a piece that is itself a token is never taken apart (Hugging Face's
  /// ignore_merges; OpenAI's tiktoken always).
  /// Without `characters`, pieces begin as bytes, and a byte that has no token is left out.
  BpeModel(std::span<const std::string> tokens, std::vector<BpeMerge> merges, bool whole_piece_first,
           std::optional<BpeCharacters> characters = std::nullopt);

  std::unique_ptr<Scratch> new_scratch() const override;
  void encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
              std::vector<int32_t>& ids) const override;
  int32_t size() const override { return vocabulary_.size(); }
  std::string_view token_bytes(int32_t id) const override { return vocabulary_.bytes(id); }
  std::optional<int32_t> token_id(std::string_view bytes) const override { return vocabulary_.find(bytes); }

  /// In the order of their ranks.
  const std::vector<BpeMerge>& merges() const { return merges_; }
  bool whole_piece_first() const { return whole_piece_first_; }
  const std::optional<BpeCharacters>& characters() const { return characters_; }

 private:
  struct BpeScratch;
  struct Found {
    uint32_t rank;
    int32_t result;
  };
  struct TableSlot {
    uint64_t pair;
    Found found;
  };

  Found find_merge(int32_t left, int32_t right) const;
  void encode_piece(std::string_view piece, BpeScratch& scratch) const;
  void begin_with_bytes(std::string_view piece, BpeScratch& scratch) const;
  void begin_with_characters(std::string_view piece, BpeScratch& scratch) const;
  std::optional<int32_t> find_symbol(std::string_view symbol) const;
  void take_unused_apart(std::vector<int32_t>& parts) const;
  void merge_short(BpeScratch& scratch) const;
  void merge_long(BpeScratch& scratch) const;

  Vocabulary vocabulary_;
  std::vector<BpeMerge> merges_;
  bool whole_piece_first_;
  std::optional<BpeCharacters> characters_;
  ByteFallback fallback_;
  std::unordered_map<int32_t, std::pair<int32_t, int32_t>> halves_;  // of tokens that are unused
  int32_t byte_ids_[256];         // -1 where the vocabulary has no token for the byte
  std::vector<TableSlot> table_;  // open addressing by pair
  uint64_t table_mask_ = 0;
};

/// The merges of a rank file: tiktoken joins the two neighbours whose joint bytes are the token of lowest rank, so
/// every way to cut a token into two tokens is a merge with the token's id as its rank.
std::vector<BpeMerge> merges_from_ranks(std::span<const std::string> tokens);

}  // namespace fledge::nn
