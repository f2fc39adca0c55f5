// The section "model" of tokenizer.json, in and out.
#include "nn/text/model_json.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/json_section.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/unigram_model.h"
#include "nn/text/word_piece_model.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;
using base::json_get;
using base::json_require;

/// The id of the name under "unk_token", or nothing where there is no such name.
std::optional<int32_t> unknown_token(const Json& model, const std::vector<std::string>& names,
                                     std::string_view fallback, std::string_view origin) {
  const auto name = json_get<std::string>(model, "unk_token", std::string(fallback), origin);
  if (name.empty() && !section_of(model, "unk_token").is_string()) return std::nullopt;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw Error("{}: the unk_token \"{}\" is not in the vocabulary", origin, name);
  return static_cast<int32_t>(found - names.begin());
}

std::vector<BpeMerge> parse_merges(const Json& merges, const std::vector<std::string>& names,
                                   std::string_view continuing_prefix, std::string_view origin) {
  if (!merges.is_array()) throw Error("{}: the model has no list \"merges\"", origin);
  BpeMergeReader reader(names, continuing_prefix, origin);
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      reader.add(merge.get_ref<const std::string&>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      reader.add(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    } else {
      throw Error("{}: an entry of \"merges\" is neither a string nor a pair of strings", origin);
    }
  }
  return reader.take();
}

void parse_bpe(const Json& model, bool on_bytes, TokenizerParts& parts, std::string_view origin) {
  const auto names = parse_vocabulary(section_of(model, "vocab"), parts.added_tokens, origin);
  const auto prefix = json_get<std::string>(model, "continuing_subword_prefix", "", origin);
  auto merges = parse_merges(section_of(model, "merges"), names, prefix, origin);
  const bool whole_piece_first = json_get(model, "ignore_merges", false, origin);
  if (on_bytes) return set_byte_level_bpe(names, std::move(merges), whole_piece_first, parts);
  BpeCharacters characters;
  characters.continuing_prefix = prefix;
  characters.end_suffix = json_get<std::string>(model, "end_of_word_suffix", "", origin);
  characters.unknown = unknown_token(model, names, "", origin);
  characters.fuse_unknown = json_get(model, "fuse_unk", false, origin);
  characters.byte_fallback = json_get(model, "byte_fallback", false, origin);
  parts.model = std::make_unique<BpeModel>(names, std::move(merges), whole_piece_first, std::move(characters));
}

void parse_word_piece(const Json& model, TokenizerParts& parts, std::string_view origin) {
  const auto names = parse_vocabulary(section_of(model, "vocab"), parts.added_tokens, origin);
  WordPieceOptions options;
  const auto unknown = unknown_token(model, names, "[UNK]", origin);
  options.unknown = *unknown;
  options.continuing_prefix = json_get(model, "continuing_subword_prefix", options.continuing_prefix, origin);
  options.longest_word = json_get(model, "max_input_chars_per_word", options.longest_word, origin);
  parts.model = std::make_unique<WordPieceModel>(names, std::move(options));
}

void parse_word_level(const Json& model, TokenizerParts& parts, std::string_view origin) {
  const auto names = parse_vocabulary(section_of(model, "vocab"), parts.added_tokens, origin);
  const auto unknown = json_get<std::string>(model, "unk_token", "<unk>", origin);
  const auto found = std::find(names.begin(), names.end(), unknown);
  const auto id = static_cast<int32_t>(found - names.begin());
  parts.model = std::make_unique<WordLevelModel>(names, found == names.end() ? std::nullopt : std::optional(id));
}

void parse_unigram(const Json& model, TokenizerParts& parts, std::string_view origin) {
  const Json& vocabulary = section_of(model, "vocab");
  if (!vocabulary.is_array() || vocabulary.empty()) {
    throw Error("{}: the vocabulary of a Unigram model is not a list of tokens and scores", origin);
  }
  std::vector<std::string> names;
  std::vector<double> scores;
  for (const Json& entry : vocabulary) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      throw Error("{}: entry {} of the vocabulary is not a token and its score", origin, names.size());
    }
    names.push_back(entry[0].get<std::string>());
    scores.push_back(entry[1].get<double>());
  }
  UnigramOptions options;
  options.byte_fallback = json_get(model, "byte_fallback", false, origin);
  if (!section_of(model, "unk_id").is_null()) {
    const auto unknown = json_require<int64_t>(model, "unk_id", origin);
    if (unknown < 0 || unknown >= static_cast<int64_t>(names.size())) {
      throw Error("{}: the unk_id {} is not in the vocabulary of {} tokens", origin, unknown, names.size());
    }
    options.unknown = static_cast<int32_t>(unknown);
  }
  parts.model = std::make_unique<UnigramModel>(names, std::move(scores), std::move(options));
}

std::string quoted(const std::string& text) {
  // A token that is not UTF-8 cannot be named in JSON; it is not reachable either.
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

constexpr std::string_view kUsualOrder[] = {
    "type",     "dropout",       "unk_token",    "continuing_subword_prefix", "end_of_word_suffix",
    "fuse_unk", "byte_fallback", "ignore_merges"};

Json byte_level_options(const BpeModel& model) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", model.whole_piece_first()}};
}

/// Appends {"name": id, ...}, or [["name", score], ...] where there are scores.
template <typename Name>
void append_vocabulary(int32_t size, const Name& name, const std::vector<double>* scores, std::string& text) {
  text += scores != nullptr ? "\"vocab\": [" : "\"vocab\": {";
  for (int32_t id = 0; id < size; ++id) {
    text += id == 0 ? "\n" : ",\n";
    if (scores != nullptr) {
      text += "[" + quoted(name(id)) + ", " + Json((*scores)[static_cast<size_t>(id)]).dump() + "]";
    } else {
      text += quoted(name(id)) + ": " + std::to_string(id);
    }
  }
  text += scores != nullptr ? "]" : "}";
}

}  // namespace

BpeMergeReader::BpeMergeReader(const std::vector<std::string>& names, std::string_view continuing_prefix,
                               std::string_view origin)
    : continuing_prefix_(continuing_prefix), origin_(origin) {
  ids_.reserve(names.size());
  for (size_t id = 0; id < names.size(); ++id) ids_.emplace(names[id], static_cast<int32_t>(id));
}

void BpeMergeReader::add(std::string_view left, std::string_view right) {
  const size_t cut = std::min(continuing_prefix_.size(), right.size());
  const std::string result = std::string(left) + std::string(right.substr(cut));
  const auto id_of = [&](std::string_view part) {
    const auto found = ids_.find(part);
    if (found == ids_.end()) {
      throw Error(
          "{}: the merge of \"{}\" and \"{}\" (number {}) needs the token \"{}\", which is not in the vocabulary",
          origin_, left, right, merges_.size() + 1, part);
    }
    return found->second;
  };
  merges_.push_back({id_of(left), id_of(right), id_of(result), static_cast<uint32_t>(merges_.size())});
}

void BpeMergeReader::add(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    throw Error("{}: the merge number {}, \"{}\", is not two tokens with a space between", origin_, merges_.size() + 1,
                line);
  }
  add(line.substr(0, space), line.substr(space + 1));
}

void set_byte_level_bpe(const std::vector<std::string>& names, std::vector<BpeMerge> merges, bool whole_piece_first,
                        TokenizerParts& parts) {
  std::vector<std::string> tokens(names.size());
  for (size_t id = 0; id < names.size(); ++id) {
    auto bytes = from_byte_alphabet(names[id]);
    if (!bytes) parts.literal_tokens.insert(static_cast<int32_t>(id));
    tokens[id] = bytes ? std::move(*bytes) : names[id];
  }
  parts.model = std::make_unique<BpeModel>(tokens, std::move(merges), whole_piece_first);
}

std::vector<std::string> parse_vocabulary(const Json& vocabulary, std::span<const AddedToken> added,
                                          std::string_view origin) {
  if (!vocabulary.is_object()) throw Error("{}: the vocabulary is not an object of tokens and ids", origin);
  const size_t most = vocabulary.size() + added.size();
  std::vector<std::string> names(most);
  std::vector<bool> taken(most);
  size_t count = 0;
  for (const auto& [name, id] : vocabulary.items()) {
    if (!id.is_number_unsigned()) throw Error("{}: the token \"{}\" has no number as its id", origin, name);
    const auto place = id.get<uint64_t>();
    if (place >= most) {
      throw Error("{}: the token \"{}\" has the id {}, but the vocabulary has {} tokens: there is a hole in the ids",
                  origin, name, place, vocabulary.size());
    }
    if (taken[place])
      throw Error("{}: the tokens \"{}\" and \"{}\" have the same id {}", origin, names[place], name, place);
    names[place] = name;
    taken[place] = true;
    count = std::max<size_t>(count, place + 1);
  }
  for (const AddedToken& token : added) {
    const auto place = static_cast<size_t>(token.id);
    if (place >= count || taken[place]) continue;
    names[place] = token.content;
    taken[place] = true;
  }
  names.resize(count);
  for (size_t id = 0; id < count; ++id) {
    if (!taken[id]) throw Error("{}: there is a hole in the ids: no token has the id {}", origin, id);
  }
  return names;
}

bool is_bpe_on_bytes(const Json& model, std::string_view origin) {
  if (json_get<std::string>(model, "type", "BPE", origin) != "BPE") return false;
  if (json_get(model, "byte_fallback", false, origin)) return false;
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json_get<std::string>(model, key, "", origin).empty()) return false;
  }
  if (json_get<std::string>(model, "unk_token", "", origin).empty()) return true;
  // An unknown token matters only where a byte has no token.
  const Json& vocabulary = section_of(model, "vocab");
  for (int byte = 0; byte < 256; ++byte) {
    if (section_of(vocabulary, to_byte_alphabet(std::string(1, static_cast<char>(byte))).c_str()).is_null())
      return false;
  }
  return true;
}

void parse_model(const Json& model, bool on_bytes, TokenizerParts& parts, std::string_view origin) {
  if (!model.is_object()) throw Error("{}: there is no object \"model\"", origin);
  // Old files do not say what they are.
  const auto type = json_get<std::string>(model, "type", "BPE", origin);
  if (type == "BPE") {
    parse_bpe(model, on_bytes, parts, origin);
  } else if (type == "WordPiece") {
    parse_word_piece(model, parts, origin);
  } else if (type == "WordLevel") {
    parse_word_level(model, parts, origin);
  } else if (type == "Unigram") {
    parse_unigram(model, parts, origin);
  } else {
    throw Error("{}: a model of type \"{}\" is not supported; BPE, WordPiece, WordLevel and Unigram are", origin, type);
  }
  parts.model_section = {{"type", type}};
  for (const auto& [key, value] : model.items()) {
    if (key != "vocab" && key != "merges") parts.model_section[key] = value;
  }
}

void append_model(const TokenizerParts& parts, std::string& text) {
  const TokenModel& model = *parts.model;
  const auto* bpe = dynamic_cast<const BpeModel*>(&model);
  const auto* unigram = dynamic_cast<const UnigramModel*>(&model);
  const bool on_bytes = bpe != nullptr && !bpe->characters();
  const auto name = [&](int32_t id) {
    const std::string bytes(model.token_bytes(id));
    return !on_bytes || parts.literal_tokens.contains(id) ? bytes : to_byte_alphabet(bytes);
  };
  if (!parts.model_section.is_object() && !on_bytes) {
    throw Error("tokenizer.json: the options of a model that is not byte-level BPE are not known");
  }
  Json options = on_bytes ? byte_level_options(*bpe) : Json::object();
  if (parts.model_section.is_object()) options.update(parts.model_section);
  text += "\"model\": {";
  const char* separator = "";
  const auto append = [&](const std::string& key) {
    text += separator + quoted(key) + ": " + options[key].dump();
    separator = ", ";
  };
  // The usual order first: what a tokenizer is told apart by is this text.
  for (const std::string_view key : kUsualOrder) {
    if (options.contains(key)) append(std::string(key));
  }
  for (const auto& [key, value] : options.items()) {
    if (std::find(std::begin(kUsualOrder), std::end(kUsualOrder), std::string_view(key)) == std::end(kUsualOrder))
      append(key);
  }
  text += ",\n";
  append_vocabulary(model.size(), name, unigram != nullptr ? &unigram->scores() : nullptr, text);
  if (bpe != nullptr) {
    text += ",\n\"merges\": [";
    bool first = true;
    for (const BpeMerge& merge : bpe->merges()) {
      text += first ? "\n" : ",\n";
      first = false;
      const std::string left = name(merge.left), right = name(merge.right);
      // The older form has no way to write a part that holds a space itself.
      const bool as_pair = left.find(' ') != std::string::npos || right.find(' ') != std::string::npos;
      text += as_pair ? "[" + quoted(left) + ", " + quoted(right) + "]" : quoted(left + " " + right);
    }
    text += "]";
  }
  text += "}";
}

}  // namespace fledge::nn
