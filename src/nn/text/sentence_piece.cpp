// SentencePiece models (Kudo and Richardson, "SentencePiece", 2018; sentencepiece_model.proto).
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/base64.h"
#include "nn/text/bpe_model.h"
#include "nn/text/protobuf_reader.h"
#include "nn/text/regex.h"
#include "nn/text/sentence_piece_normalizer.h"
#include "nn/text/tokenizer.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/unigram_model.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;

constexpr size_t kMostPieces = 10'000'000;
constexpr size_t kLongestPieceName = 1024;
const std::string kMark = "\u2581";

enum class PieceType : uint64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
enum class ModelType : uint64_t { kUnigram = 1, kBpe, kWord, kCharacter };

struct Piece {
  std::string text;
  float score = 0.0f;
  PieceType type = PieceType::kNormal;
};

struct Model {
  std::vector<Piece> pieces;
  ModelType type = ModelType::kUnigram;
  bool byte_fallback = false;
  bool space_as_suffix = false;
  std::string begin = "<s>", end = "</s>";
  std::string chars_map;
  SentencePieceSpaces spaces;
};

Piece parse_piece(std::string_view message, size_t index, std::string_view origin) {
  Piece piece;
  for (ProtobufReader reader(message, origin); reader.next();) {
    if (reader.field() == 1) piece.text = reader.bytes();
    if (reader.field() == 2) piece.score = reader.real();
    if (reader.field() == 3) piece.type = static_cast<PieceType>(reader.number());
  }
  if (piece.text.empty() || piece.text.size() > kLongestPieceName ||
      valid_utf8_end(piece.text, 0) < piece.text.size()) {
    throw Error("{}: piece {} has {} bytes of text; valid UTF-8 of 1 to {} is expected", origin, index,
                piece.text.size(), kLongestPieceName);
  }
  if (piece.type < PieceType::kNormal || piece.type > PieceType::kByte) {
    throw Error("{}: piece {} is of the unknown type {}", origin, index, static_cast<uint64_t>(piece.type));
  }
  if (!std::isfinite(piece.score)) throw Error("{}: the score of piece {} is not a number", origin, index);
  return piece;
}

void parse_trainer(std::string_view message, Model& model, std::string_view origin) {
  for (ProtobufReader reader(message, origin); reader.next();) {
    if (reader.field() == 3) model.type = static_cast<ModelType>(reader.number());
    if (reader.field() == 24) model.space_as_suffix = reader.number() != 0;
    if (reader.field() == 35) model.byte_fallback = reader.number() != 0;
    if (reader.field() == 46) model.begin = reader.bytes();
    if (reader.field() == 47) model.end = reader.bytes();
  }
}

void parse_normalizer_spec(std::string_view message, Model& model, std::string_view origin) {
  for (ProtobufReader reader(message, origin); reader.next();) {
    if (reader.field() == 2) model.chars_map = reader.bytes();
    if (reader.field() == 3) model.spaces.add_prefix = reader.number() != 0;
    if (reader.field() == 4) model.spaces.remove_extra = reader.number() != 0;
    if (reader.field() == 5) model.spaces.escape = reader.number() != 0;
  }
}

Model parse(std::string_view bytes, std::string_view origin) {
  Model model;
  for (ProtobufReader reader(bytes, origin); reader.next();) {
    if (reader.field() == 1) {
      if (model.pieces.size() == kMostPieces) throw Error("{}: more than {} pieces", origin, kMostPieces);
      model.pieces.push_back(parse_piece(reader.bytes(), model.pieces.size(), origin));
    }
    if (reader.field() == 2) parse_trainer(reader.bytes(), model, origin);
    if (reader.field() == 3) parse_normalizer_spec(reader.bytes(), model, origin);
  }
  if (model.pieces.empty())
    throw Error("{}: there are no pieces in the file: this is not a SentencePiece model", origin);
  if (model.type != ModelType::kUnigram && model.type != ModelType::kBpe) {
    throw Error("{}: a SentencePiece model of type {} is not supported; 1 (Unigram) and 2 (BPE) are", origin,
                static_cast<uint64_t>(model.type));
  }
  if (model.space_as_suffix) throw Error("{}: treat_whitespace_as_suffix is not supported", origin);
  return model;
}

bool can_be_met(PieceType type) {
  return type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kUnused;
}

std::vector<bool> flags(const Model& model, bool (*holds)(PieceType)) {
  std::vector<bool> result(model.pieces.size());
  for (size_t id = 0; id < result.size(); ++id) result[id] = holds(model.pieces[id].type);
  return std::find(result.begin(), result.end(), true) == result.end() ? std::vector<bool>() : result;
}

int32_t unknown_piece(const Model& model, std::string_view origin) {
  const auto is_unknown = [](const Piece& piece) { return piece.type == PieceType::kUnknown; };
  const auto found = std::find_if(model.pieces.begin(), model.pieces.end(), is_unknown);
  if (found == model.pieces.end() || std::any_of(found + 1, model.pieces.end(), is_unknown)) {
    throw Error("{}: there must be one piece for unknown characters", origin);
  }
  return static_cast<int32_t>(found - model.pieces.begin());
}

/// SentencePiece joins the two neighbours whose joint text is the piece of greatest score; so every way to cut a piece
/// into two is a merge, and pieces of equal score have equal ranks.
std::vector<BpeMerge> merges_from_scores(const Model& model) {
  const size_t count = model.pieces.size();
  std::vector<std::string> texts(count);
  std::vector<int32_t> order;
  for (size_t id = 0; id < count; ++id) {
    // What text is never made of can be no part of a merge.
    if (!can_be_met(model.pieces[id].type)) continue;
    texts[id] = model.pieces[id].text;
    order.push_back(static_cast<int32_t>(id));
  }
  const Vocabulary vocabulary(texts);
  const auto score = [&](int32_t id) { return model.pieces[static_cast<size_t>(id)].score; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
  std::vector<BpeMerge> merges;
  uint32_t rank = 0;
  for (size_t place = 0; place < order.size(); ++place) {
    const int32_t id = order[place];
    if (place > 0 && score(order[place - 1]) != score(id)) ++rank;
    // A user-defined piece is never part of a longer one, but may be one that others make.
    const std::string_view text = texts[static_cast<size_t>(id)];
    for (size_t cut = utf8_length(text, 0); cut < text.size(); cut += utf8_length(text, cut)) {
      const auto left = vocabulary.find(text.substr(0, cut));
      const auto right = left ? vocabulary.find(text.substr(cut)) : std::nullopt;
      if (right) merges.push_back({*left, *right, id, rank});
    }
  }
  return merges;
}

Json replace_step(const char* kind, const std::string& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

/// The normalizer as Hugging Face's files write it.
Json normalizer_section(const Model& model) {
  Json steps = Json::array();
  if (!model.chars_map.empty()) {
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(model.chars_map)}});
  }
  if (model.spaces.remove_extra) {
    steps.push_back(replace_step("Regex", "^ +| +$", ""));
    steps.push_back(replace_step("Regex", " {2,}", " "));
  }
  if (model.spaces.add_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", model.spaces.escape ? kMark : " "}});
  if (model.spaces.escape) steps.push_back(replace_step("String", " ", kMark));
  if (steps.empty()) return nullptr;
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

Json decoder_section(const Model& model) {
  Json steps = Json::array({replace_step("String", kMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (model.spaces.add_prefix || model.spaces.remove_extra) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", steps}};
}

/// A regular expression for the longest user-defined piece at a place; empty where there is none.
std::string user_defined_regex(const Model& model) {
  std::vector<std::string_view> symbols;
  for (const Piece& piece : model.pieces) {
    if (piece.type == PieceType::kUserDefined) symbols.push_back(piece.text);
  }
  std::stable_sort(symbols.begin(), symbols.end(), [](auto a, auto b) { return a.size() > b.size(); });
  std::string regex;
  for (const std::string_view symbol : symbols) regex += (regex.empty() ? "" : "|") + quoted_regex(symbol);
  return regex;
}

void set_bpe(const Model& model, const std::vector<std::string>& texts, int32_t unknown, TokenizerParts& parts,
             std::string_view origin) {
  BpeCharacters characters;
  characters.unknown = unknown;
  characters.fuse_unknown = true;
  characters.byte_fallback = model.byte_fallback;
  characters.never_split = flags(model, [](PieceType type) { return type == PieceType::kUserDefined; });
  characters.unused = flags(model, [](PieceType type) { return type == PieceType::kUnused; });
  if (const std::string regex = user_defined_regex(model); !regex.empty()) {
    parts.pre_tokenizer = make_match_splitter(regex, SplitBehavior::kIsolated, false, origin);
    parts.pre_tokenizer_section = {
        {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
  }
  parts.model_section = {{"type", "BPE"},
                         {"dropout", nullptr},
                         {"unk_token", texts[static_cast<size_t>(unknown)]},
                         {"continuing_subword_prefix", nullptr},
                         {"end_of_word_suffix", nullptr},
                         {"fuse_unk", true},
                         {"byte_fallback", model.byte_fallback},
                         {"ignore_merges", !characters.never_split.empty()}};
  parts.model = std::make_unique<BpeModel>(texts, merges_from_scores(model), false, std::move(characters));
}

void set_unigram(const Model& model, const std::vector<std::string>& texts, int32_t unknown, TokenizerParts& parts) {
  UnigramOptions options;
  options.unknown = unknown;
  options.byte_fallback = model.byte_fallback;
  options.single_precision = true;
  options.unreachable = flags(model, [](PieceType type) { return !can_be_met(type) || type == PieceType::kUnused; });
  options.user_defined = flags(model, [](PieceType type) { return type == PieceType::kUserDefined; });
  std::vector<double> scores;
  for (const Piece& piece : model.pieces) scores.push_back(static_cast<double>(piece.score));
  parts.model_section = {{"type", "Unigram"}, {"unk_id", unknown}, {"byte_fallback", model.byte_fallback}};
  parts.model = std::make_unique<UnigramModel>(texts, std::move(scores), std::move(options));
}

}  // namespace

TokenizerParts parse_sentence_piece(std::string_view bytes, std::string_view origin) {
  const Model model = parse(bytes, origin);
  std::vector<std::string> texts, user_defined;
  std::map<std::string_view, size_t> seen;
  TokenizerParts parts;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const auto [found, is_new] = seen.emplace(piece.text, id);
    if (!is_new) {
      throw Error("{}: the pieces {} and {} are both \"{}\"", origin, found->second, id, piece.text);
    }
    texts.push_back(piece.text);
    if (piece.type == PieceType::kUserDefined) user_defined.push_back(piece.text);
    if (piece.type == PieceType::kControl || piece.type == PieceType::kUnknown) {
      parts.added_tokens.push_back({.id = static_cast<int32_t>(id), .content = piece.text, .special = true});
    }
  }
  const int32_t unknown = unknown_piece(model, origin);
  parts.pre_tokenizer = make_scanner(SplitPattern::kWhole);
  model.type == ModelType::kBpe ? set_bpe(model, texts, unknown, parts, origin)
                                : set_unigram(model, texts, unknown, parts);
  parts.normalization = make_sentence_piece_normalizer(CharsMap(model.chars_map, origin), model.spaces, user_defined);
  parts.normalizer = normalizer_section(model);
  parts.decoder = decoder_section(model);
  parts.decoding = std::make_unique<Decoder>(parts.decoder, origin);
  parts.config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                  {"clean_up_tokenization_spaces", false},
                  {"unk_token", texts[static_cast<size_t>(unknown)]}};
  if (seen.contains(model.begin)) parts.config["bos_token"] = model.begin;
  if (seen.contains(model.end)) parts.config["eos_token"] = model.end;
  return parts;
}

}  // namespace fledge::nn
