#include "nn/text/word_piece_model.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "nn/text/cached_encoding.h"

namespace fledge::nn {
namespace {

struct WordPieceScratch : TokenModel::Scratch {
  PieceCache cache;
  std::vector<int32_t> parts;
};

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; });
}

}  // namespace

WordPieceModel::WordPieceModel(std::span<const std::string> tokens, WordPieceOptions options)
    : vocabulary_(tokens), options_(std::move(options)) {
  std::vector<std::pair<std::string_view, int32_t>> beginning, continuing;
  const std::string& prefix = options_.continuing_prefix;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string_view token = vocabulary_.bytes(id);
    beginning.emplace_back(token, id);
    if (token.starts_with(prefix)) continuing.emplace_back(token.substr(prefix.size()), id);
  }
  beginning_ = ByteTrie(std::move(beginning));
  continuing_ = ByteTrie(std::move(continuing));
}

std::unique_ptr<TokenModel::Scratch> WordPieceModel::new_scratch() const {
  return std::make_unique<WordPieceScratch>();
}

void WordPieceModel::encode(std::span<const std::string_view> pieces, const char* readable_end, Scratch& scratch,
                            std::vector<int32_t>& ids) const {
  auto& state = static_cast<WordPieceScratch&>(scratch);
  encode_with_cache(
      pieces, readable_end, state.cache, state.parts, [&](std::string_view piece) { encode_piece(piece, state.parts); },
      ids);
}

void WordPieceModel::encode_piece(std::string_view piece, std::vector<int32_t>& parts) const {
  parts.clear();
  if (piece.empty()) return;
  if (count_characters(piece) > options_.longest_word) return parts.assign(1, options_.unknown);
  for (size_t position = 0; position < piece.size();) {
    size_t longest = 0;
    int32_t token = -1;
    const ByteTrie& trie = position == 0 ? beginning_ : continuing_;
    trie.for_each_prefix(piece.substr(position), [&](size_t length, int32_t id) {
      longest = length;
      token = id;
    });
    if (token < 0) return parts.assign(1, options_.unknown);
    parts.push_back(token);
    position += longest;
  }
}

void WordLevelModel::encode(std::span<const std::string_view> pieces, const char*, Scratch&,
                            std::vector<int32_t>& ids) const {
  for (const std::string_view piece : pieces) {
    const auto id = vocabulary_.find(piece);
    if (!id && !unknown_) throw base::Error("the tokenizer has no token for \"{}\" and none for unknown words", piece);
    ids.push_back(id ? *id : *unknown_);
  }
}

}  // namespace fledge::nn
