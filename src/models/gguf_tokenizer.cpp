#include "models/gguf_tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"
#include "models/formats/safetensors_header.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;

enum TokenKind : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kWordMark = "\u2581";

/// The lists of a GGUF file's tokenizer, checked against each other.
struct Lists {
  std::vector<std::string> tokens;
  std::vector<int64_t> kinds;
  std::vector<double> scores;  ///< empty where the file has none
};

Lists read_lists(const GgufReader& file) {
  const std::string& origin = file.origin();
  const Json* tokens = file.metadata().array("tokenizer.ggml.tokens", GgufValueType::string, origin);
  if (tokens == nullptr) throw Error("{}: holds no tokenizer (tokenizer.ggml.tokens)", origin);
  Lists lists;
  lists.tokens = tokens->get<std::vector<std::string>>();
  const auto check = [&](const Json* list, const char* name) {
    if (list != nullptr && list->size() != lists.tokens.size()) {
      throw Error("{}: has {} tokens and {} values of tokenizer.ggml.{}", origin, lists.tokens.size(), list->size(),
                  name);
    }
  };
  const Json* kinds = file.metadata().array("tokenizer.ggml.token_type", GgufValueType::i32, origin);
  check(kinds, "token_type");
  lists.kinds =
      kinds != nullptr ? kinds->get<std::vector<int64_t>>() : std::vector<int64_t>(lists.tokens.size(), kNormal);
  const Json* scores = file.metadata().array("tokenizer.ggml.scores", GgufValueType::f32, origin);
  check(scores, "scores");
  if (scores != nullptr) lists.scores = scores->get<std::vector<double>>();
  return lists;
}

Json added_token(const std::string& content, bool special) {
  return {{"content", content}, {"lstrip", false},      {"normalized", false},
          {"rstrip", false},    {"single_word", false}, {"special", special}};
}

bool is_added(int64_t kind) {
  return kind == kControl || kind == kUserDefined || kind == kUnknown;
}

Json added_tokens_of(const Lists& lists, bool unknown_too) {
  Json added = Json::array();
  for (size_t id = 0; id < lists.tokens.size(); ++id) {
    const int64_t kind = lists.kinds[id];
    if (!is_added(kind) || (kind == kUnknown && !unknown_too)) continue;
    Json token = added_token(lists.tokens[id], kind != kUserDefined);
    token["id"] = id;
    added.push_back(token);
  }
  return added;
}

/// The vocabulary proper. Added tokens behind its last token stand in "added_tokens" alone, as in Hugging Face's files.
Json vocabulary_of(const Lists& lists, const std::string& origin) {
  size_t count = 0;
  for (size_t id = 0; id < lists.tokens.size(); ++id) {
    if (!is_added(lists.kinds[id]) && lists.kinds[id] != kUnused) count = id + 1;
  }
  Json vocabulary = Json::object();
  for (size_t id = 0; id < count; ++id) {
    if (!vocabulary.emplace(lists.tokens[id], id).second) {
      throw Error("{}: the token {} is there twice", origin, quoted_name(lists.tokens[id]));
    }
  }
  return vocabulary;
}

std::optional<int64_t> special_id(const GgufReader& file, const std::string& name, size_t count) {
  const std::string key = "tokenizer.ggml." + name + "_token_id";
  if (!file.metadata().contains(key)) return std::nullopt;
  const auto id = file.metadata().require<int64_t>(key, file.origin());
  // Some files say -1 or 2^32 - 1 for "none".
  if (id < 0 || id >= static_cast<int64_t>(count)) return std::nullopt;
  return id;
}

/// TemplateProcessing that puts tokens before and after a text.
Json template_of(const Lists& lists, std::optional<int64_t> first, std::optional<int64_t> last) {
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto special = [&](int64_t id, int type) {
    const std::string& name = lists.tokens[static_cast<size_t>(id)];
    tokens[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    return Json{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  if (first) single.push_back(special(*first, 0));
  single.push_back(text("A", 0));
  if (last) single.push_back(special(*last, 0));
  pair = single;
  pair.push_back(text("B", 1));
  if (last) pair.push_back(special(*last, 1));
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

Json byte_level_json(const GgufReader& file, const Lists& lists) {
  const std::string& origin = file.origin();
  const GgufSplit split =
      split_of_gguf(file.metadata().get<std::string>("tokenizer.ggml.pre", "gpt-2", origin), origin);
  const Json* merges = file.metadata().array("tokenizer.ggml.merges", GgufValueType::string, origin);
  if (merges == nullptr) throw Error("{}: the tokenizer has no merges (tokenizer.ggml.merges)", origin);
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  Json json = {{"added_tokens", added_tokens_of(lists, true)},
               {"normalizer", split.normalizer},
               {"pre_tokenizer", split.pre_tokenizer},
               {"post_processor", nullptr},
               {"decoder", bytes}};
  std::optional<int64_t> first, last;
  if (file.metadata().get("tokenizer.ggml.add_bos_token", false, origin)) {
    first = special_id(file, "bos", lists.tokens.size());
  }
  if (file.metadata().get("tokenizer.ggml.add_eos_token", false, origin)) {
    last = special_id(file, "eos", lists.tokens.size());
  }
  if (first || last) json["post_processor"] = template_of(lists, first, last);
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", split.ignore_merges},
                   {"vocab", vocabulary_of(lists, origin)},
                   {"merges", *merges}};
  return json;
}

/// Bytes of the UTF-8 character that begins with this byte; 1 for a byte that begins none.
size_t character_bytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The merges of a SentencePiece model: every way to make a token of two others; better scores first, then shorter
/// parts last (as transformers' converter orders them).
Json merges_of_scores(const Lists& lists) {
  constexpr size_t kLongestToken = 512;
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t id = 0; id < lists.tokens.size(); ++id) ids.emplace(lists.tokens[id], id);
  struct Merge {
    double score;
    std::string_view left, right;
    size_t left_length, right_length;
    size_t left_id, right_id, token;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < lists.tokens.size(); ++id) {
    if (lists.kinds[id] != kNormal && lists.kinds[id] != kUserDefined) continue;
    const std::string_view token = lists.tokens[id];
    if (token.size() > kLongestToken) continue;
    size_t length = 0;
    for (size_t at = 0; at < token.size(); at += character_bytes(token[at])) ++length;
    size_t left_length = 0;
    for (size_t cut = 0; cut < token.size();) {
      cut += character_bytes(token[cut]);
      ++left_length;
      if (cut >= token.size()) break;
      const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({lists.scores[id], left->first, right->first, left_length, length - left_length, left->second,
                        right->second, id});
    }
  }
  std::ranges::stable_sort(merges, [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    if (a.right_length != b.right_length) return a.right_length > b.right_length;
    return std::tie(a.token, a.left_id, a.right_id) < std::tie(b.token, b.left_id, b.right_id);
  });
  Json list = Json::array();
  for (const Merge& merge : merges) list.push_back(Json::array({merge.left, merge.right}));
  return list;
}

Json sentence_piece_json(const GgufReader& file, const Lists& lists) {
  const std::string& origin = file.origin();
  if (lists.scores.empty()) throw Error("{}: the tokenizer has no scores (tokenizer.ggml.scores)", origin);
  const std::optional<int64_t> unknown = special_id(file, "unknown", lists.tokens.size());
  const bool prefix = file.metadata().get("tokenizer.ggml.add_space_prefix", true, origin);
  Json normalizers = Json::array(), decoders = Json::array();
  if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kWordMark}});
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kWordMark}});
  decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", kWordMark}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  std::optional<int64_t> first, last;
  if (file.metadata().get("tokenizer.ggml.add_bos_token", true, origin)) {
    first = special_id(file, "bos", lists.tokens.size());
  }
  if (file.metadata().get("tokenizer.ggml.add_eos_token", false, origin)) {
    last = special_id(file, "eos", lists.tokens.size());
  }
  Json json = {{"added_tokens", added_tokens_of(lists, true)},
               {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
               {"pre_tokenizer", nullptr},
               {"post_processor", template_of(lists, first, last)},
               {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}}};
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", unknown ? Json(lists.tokens[static_cast<size_t>(*unknown)]) : Json(nullptr)},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", true},
                   {"byte_fallback", true},
                   {"ignore_merges", false},
                   {"vocab", vocabulary_of(lists, origin)},
                   {"merges", merges_of_scores(lists)}};
  return json;
}

/// GGUF files mark the beginning of a word where WordPiece marks its continuation.
Json word_piece_json(const GgufReader& file, Lists lists) {
  for (size_t id = 0; id < lists.tokens.size(); ++id) {
    std::string& token = lists.tokens[id];
    if (is_added(lists.kinds[id]) || lists.kinds[id] == kUnused) continue;
    token = token.starts_with(kWordMark) ? token.substr(kWordMark.size()) : "##" + token;
  }
  const size_t count = lists.tokens.size();
  const std::optional<int64_t> unknown = special_id(file, "unknown", count);
  std::optional<int64_t> first = special_id(file, "cls", count);
  if (!first) first = special_id(file, "bos", count);
  const bool lowercase = file.metadata().get("tokenizer.ggml.normalizer.lowercase", true, file.origin());
  const bool strips = file.metadata().get("tokenizer.ggml.normalizer.strip_accents", lowercase, file.origin());
  std::optional<int64_t> last = special_id(file, "seperator", count);  // the format's own spelling
  if (!last) last = special_id(file, "eos", count);
  Json json = {{"added_tokens", added_tokens_of(lists, true)},
               {"normalizer",
                {{"type", "BertNormalizer"},
                 {"clean_text", true},
                 {"handle_chinese_chars", true},
                 {"strip_accents", strips == lowercase ? Json() : Json(strips)},
                 {"lowercase", lowercase}}},
               {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
               {"post_processor", template_of(lists, first, last)},
               {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}}};
  json["model"] = {{"type", "WordPiece"},
                   {"unk_token", unknown ? lists.tokens[static_cast<size_t>(*unknown)] : "[UNK]"},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", vocabulary_of(lists, file.origin())}};
  return json;
}

/// The whole tokenizer.json, which the format has a place for; null where it is not there, or speaks of other tokens
/// than the lists do (WordPiece's have other names there).
Json whole_tokenizer(const GgufReader& file, const Lists& lists) {
  constexpr const char* kKey = "tokenizer.huggingface.json";
  if (!file.metadata().contains(kKey)) return nullptr;
  const std::string origin = file.origin() + " (" + kKey + ")";
  Json json = base::parse_json(file.metadata().require<std::string>(kKey, file.origin()), origin);
  const auto found = json.is_object() && json.contains("model") && json["model"].is_object()
                         ? json["model"].value("vocab", Json())
                         : Json();
  const bool same_names = file.metadata().get<std::string>("tokenizer.ggml.model", "", file.origin()) != "bert";
  if (!found.is_object()) return nullptr;
  for (const auto& [name, id] : found.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= lists.tokens.size()) return nullptr;
    if (same_names && lists.tokens[id.get<size_t>()] != name) return nullptr;
  }
  return json;
}

}  // namespace

Json tokenizer_json_of_gguf(const GgufReader& file) {
  Lists lists = read_lists(file);
  if (Json whole = whole_tokenizer(file, lists); !whole.is_null()) return whole;
  const auto model = file.metadata().require<std::string>("tokenizer.ggml.model", file.origin());
  Json json;
  if (model == "gpt2") {
    json = byte_level_json(file, lists);
  } else if (model == "llama") {
    json = sentence_piece_json(file, lists);
  } else if (model == "bert") {
    json = word_piece_json(file, std::move(lists));
  } else {
    throw Error("{}: a tokenizer of the kind \"{}\" is not supported; gpt2, llama and bert are", file.origin(), model);
  }
  json["version"] = "1.0";
  json["truncation"] = json["padding"] = nullptr;
  return json;
}

Json tokenizer_config_of_gguf(const GgufReader& file) {
  const Lists lists = read_lists(file);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  for (const auto& [key, name] : {std::pair{"bos", "bos_token"},
                                  {"eos", "eos_token"},
                                  {"unknown", "unk_token"},
                                  {"padding", "pad_token"},
                                  {"cls", "cls_token"},
                                  {"seperator", "sep_token"},
                                  {"mask", "mask_token"}}) {
    const auto id = special_id(file, key, lists.tokens.size());
    if (id) config[name] = lists.tokens[static_cast<size_t>(*id)];
  }
  for (const char* key : {"add_bos_token", "add_eos_token"}) {
    const std::string full = std::string("tokenizer.ggml.") + key;
    if (file.metadata().contains(full)) config[key] = file.metadata().require<bool>(full, file.origin());
  }
  if (file.metadata().contains("tokenizer.chat_template")) {
    config["chat_template"] = file.metadata().require<std::string>("tokenizer.chat_template", file.origin());
  }
  return config;
}

nn::Tokenizer tokenizer_of_gguf(const GgufReader& file) {
  std::string text;
  try {
    text = tokenizer_json_of_gguf(file).dump();
  } catch (const Json::exception&) {
    throw Error("{}: the tokenizer has tokens that are not UTF-8", file.origin());
  }
  nn::TokenizerParts parts = nn::parse_tokenizer_json(text, file.origin() + " (tokenizer)");
  parts.config = tokenizer_config_of_gguf(file);
  return nn::Tokenizer(std::move(parts));
}

}  // namespace fledge::models
