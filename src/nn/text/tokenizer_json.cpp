// Reading of Hugging Face's tokenizer.json (byte-level BPE) and of the older vocab.json with merges.txt.
#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

#include "base/error.h"
#include "nn/text/bpe_model.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/tokenizer.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;
using base::json_get;
using base::json_require;

// Ids become rows of an embedding: greater ones are a mistake or an attack.
constexpr int64_t kGreatestId = 10'000'000;

/// The value under `key`, or null where there is none or `object` is no object. A reference into `object`.
const Json& section(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

std::string type_of(const Json& object, std::string_view origin) {
  return json_require<std::string>(object, "type", origin);
}

AddedToken parse_added_token(const Json& entry, int64_t id, std::string_view origin) {
  AddedToken token;
  if (id < 0 || id > kGreatestId) throw Error("{}: an added token has the id {}, which is out of range", origin, id);
  token.id = static_cast<int32_t>(id);
  token.content = json_require<std::string>(entry, "content", origin);
  token.single_word = json_get(entry, "single_word", false, origin);
  token.lstrip = json_get(entry, "lstrip", false, origin);
  token.rstrip = json_get(entry, "rstrip", false, origin);
  token.special = json_get(entry, "special", false, origin);
  token.normalized = json_get(entry, "normalized", !token.special, origin);
  return token;
}

std::vector<AddedToken> parse_added_tokens(const Json& list, std::string_view origin) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array()) throw Error("{}: \"added_tokens\" is not a list", origin);
  for (const Json& entry : list) {
    tokens.push_back(parse_added_token(entry, json_require<int64_t>(entry, "id", origin), origin));
  }
  return tokens;
}

void check_added_tokens(std::vector<AddedToken>& tokens, std::string_view origin) {
  std::stable_sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i].id == tokens[i - 1].id) {
      throw Error("{}: the added tokens \"{}\" and \"{}\" have the same id {}", origin, tokens[i - 1].content,
                  tokens[i].content, tokens[i].id);
    }
  }
}

bool parse_normalizer(const Json& normalizer, std::string_view origin) {
  if (normalizer.is_null()) return false;
  const std::string type = type_of(normalizer, origin);
  if (type == "NFC") return true;
  if (type == "Sequence" && section(normalizer, "normalizers").is_array()) {
    bool nfc = false;
    for (const Json& step : normalizer["normalizers"]) nfc = parse_normalizer(step, origin) || nfc;
    return nfc;
  }
  throw Error("{}: the normalizer \"{}\" is not supported; null and NFC are", origin, type);
}

/// What has been read of a pre-tokenizer: the splits in order, and the step that turns text to bytes.
struct PreTokenizerSteps {
  std::vector<std::unique_ptr<PreTokenizer>> splits;
  bool byte_level = false;
  bool add_prefix_space = false;
};

/// The text as a regular expression that matches it and nothing else.
std::string quoted_regex(const std::string& text) {
  std::string regex;
  for (const char c : text) {
    if (static_cast<signed char>(c) >= 0 && !std::isalnum(static_cast<unsigned char>(c))) regex += '\\';
    regex += c;
  }
  return regex;
}

void parse_split(const Json& step, PreTokenizerSteps& steps, std::string_view origin) {
  const auto behavior = json_require<std::string>(step, "behavior", origin);
  const bool invert = json_get(step, "invert", false, origin);
  // "Removed" and inverted keeps the matches and drops the rest; the known patterns match everything, so that it comes
  // to the same, and where a pattern does not, nothing of the text is lost here.
  if (behavior != "Isolated" && !(behavior == "Removed" && invert)) {
    throw Error("{}: a Split with the behavior \"{}\" is not supported; \"Isolated\" is", origin, behavior);
  }
  const Json& pattern = section(step, "pattern");
  if (pattern.is_object() && pattern.contains("String")) {
    const auto text = json_require<std::string>(pattern, "String", origin);
    steps.splits.push_back(make_regex_splitter(quoted_regex(text), origin));
  } else {
    steps.splits.push_back(make_regex_splitter(json_require<std::string>(pattern, "Regex", origin), origin));
  }
}

void parse_pre_tokenizer(const Json& step, PreTokenizerSteps& steps, std::string_view origin) {
  const std::string type = type_of(step, origin);
  if (steps.byte_level)
    throw Error("{}: the pre-tokenizer \"{}\" stands behind ByteLevel, which is last", origin, type);
  if (type == "Sequence" && section(step, "pretokenizers").is_array()) {
    for (const Json& part : step["pretokenizers"]) parse_pre_tokenizer(part, steps, origin);
  } else if (type == "Split") {
    parse_split(step, steps, origin);
  } else if (type == "Digits") {
    const bool single = json_get(step, "individual_digits", false, origin);
    steps.splits.push_back(make_regex_splitter(single ? "\\p{N}" : "\\p{N}+", origin));
  } else if (type == "ByteLevel") {
    steps.byte_level = true;
    if (json_get(step, "use_regex", true, origin)) steps.splits.push_back(make_scanner(SplitPattern::kGpt2));
    steps.add_prefix_space = json_get(step, "add_prefix_space", true, origin);
    if (steps.add_prefix_space && steps.splits.size() > 1) {
      throw Error("{}: ByteLevel with add_prefix_space behind another pre-tokenizer is not supported", origin);
    }
  } else {
    throw Error("{}: the pre-tokenizer \"{}\" is not supported; Split, Digits, ByteLevel and a Sequence of them are",
                origin, type);
  }
}

/// Ids that a template puts before and after the text.
void parse_template(const Json& processor, TokenizerParts& parts, std::string_view origin) {
  const Json& single = section(processor, "single");
  if (!single.is_array()) throw Error("{}: TemplateProcessing has no list \"single\"", origin);
  bool seen_text = false;
  for (const Json& item : single) {
    if (item.contains("Sequence")) {
      seen_text = true;
      continue;
    }
    if (!item.is_object()) throw Error("{}: TemplateProcessing has an item that is not an object", origin);
    const Json& special = section(item, "SpecialToken");
    const auto name = json_require<std::string>(special, "id", origin);
    const Json& ids = section(section(section(processor, "special_tokens"), name.c_str()), "ids");
    if (!ids.is_array()) throw Error("{}: TemplateProcessing does not say the ids of \"{}\"", origin, name);
    for (const Json& id : ids) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kGreatestId)) {
        throw Error("{}: TemplateProcessing has a bad id for \"{}\"", origin, name);
      }
      (seen_text ? parts.suffix : parts.prefix).push_back(id.get<int32_t>());
    }
  }
}

void parse_post_processor(const Json& processor, TokenizerParts& parts, std::string_view origin) {
  if (processor.is_null()) return;
  const std::string type = type_of(processor, origin);
  if (type == "ByteLevel") return;  // concerns offsets alone
  if (type == "TemplateProcessing") {
    parse_template(processor, parts, origin);
  } else if (type == "Sequence" && section(processor, "processors").is_array()) {
    for (const Json& step : processor["processors"]) parse_post_processor(step, parts, origin);
  } else {
    throw Error("{}: the post-processor \"{}\" is not supported; ByteLevel and TemplateProcessing are", origin, type);
  }
}

void check_model_options(const Json& model, std::string_view origin) {
  if (!model.is_object()) throw Error("{}: there is no object \"model\"", origin);
  const auto type = json_get<std::string>(model, "type", "BPE", origin);
  if (type != "BPE") throw Error("{}: a model of type \"{}\" is not supported; \"BPE\" is", origin, type);
  if (json_get(model, "byte_fallback", false, origin)) {
    throw Error("{}: byte_fallback is not supported: this is a character-level BPE, not a byte-level one", origin);
  }
  const Json& dropout = section(model, "dropout");
  if (!dropout.is_null() && !(dropout.is_number() && dropout.get<double>() == 0.0)) {
    throw Error("{}: BPE dropout is not supported", origin);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json_get<std::string>(model, key, "", origin).empty()) {
      throw Error("{}: \"{}\" is not supported: this is not a byte-level BPE", origin, key);
    }
  }
}

/// The names of the vocabulary by id, as the file writes them. Added tokens fill the ids that the vocabulary leaves
/// out.
std::vector<std::string> parse_vocabulary(const Json& vocabulary, const std::vector<AddedToken>& added,
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

/// Fills the model of `parts` from names and merges, both in the byte alphabet.
class BpeBuilder {
 public:
  BpeBuilder(std::vector<std::string> names, std::string_view origin) : names_(std::move(names)), origin_(origin) {
    ids_.reserve(names_.size());
    for (size_t id = 0; id < names_.size(); ++id) ids_.emplace(names_[id], static_cast<int32_t>(id));
  }

  void add_merge(std::string_view left, std::string_view right) {
    const std::string result = std::string(left) + std::string(right);
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

  /// A merge in one string, its parts separated by a space.
  void add_merge(std::string_view line) {
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      throw Error("{}: the merge number {}, \"{}\", is not two tokens with a space between", origin_,
                  merges_.size() + 1, line);
    }
    add_merge(line.substr(0, space), line.substr(space + 1));
  }

  void finish(bool whole_piece_first, TokenizerParts& parts) {
    std::vector<std::string> tokens(names_.size());
    for (size_t id = 0; id < names_.size(); ++id) {
      auto bytes = from_byte_alphabet(names_[id]);
      if (!bytes) parts.literal_tokens.insert(static_cast<int32_t>(id));
      tokens[id] = bytes ? std::move(*bytes) : names_[id];
    }
    parts.model = std::make_unique<BpeModel>(tokens, std::move(merges_), whole_piece_first);
  }

 private:
  std::vector<std::string> names_;
  std::string_view origin_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<BpeMerge> merges_;
};

void parse_model(const Json& model, TokenizerParts& parts, std::string_view origin) {
  check_model_options(model, origin);
  BpeBuilder builder(parse_vocabulary(section(model, "vocab"), parts.added_tokens, origin), origin);
  const Json& merges = section(model, "merges");
  if (!merges.is_array()) throw Error("{}: the model has no list \"merges\"", origin);
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      builder.add_merge(merge.get_ref<const std::string&>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      builder.add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    } else {
      throw Error("{}: an entry of \"merges\" is neither a string nor a pair of strings", origin);
    }
  }
  builder.finish(json_get(model, "ignore_merges", false, origin), parts);
}

void use_pattern(SplitPattern pattern, TokenizerParts& parts) {
  parts.pre_tokenizer = make_scanner(pattern);
  parts.pre_tokenizer_section = pre_tokenizer_section(pattern);
  parts.decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
}

/// Special tokens that the configuration names, for files that do not list them.
std::vector<AddedToken> added_tokens_of_config(const Json& config, const Json& vocabulary) {
  std::vector<AddedToken> tokens;
  const std::string origin = "tokenizer_config.json";
  const Json& listed = section(config, "added_tokens_decoder");
  if (listed.is_object()) {
    for (const auto& [id, entry] : listed.items()) {
      const bool is_number = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
      if (!is_number) throw Error("{}: \"added_tokens_decoder\" has the key \"{}\", which is no id", origin, id);
      tokens.push_back(parse_added_token(entry, std::stoll(id), origin));
    }
  }
  if (tokens.empty() && section(vocabulary, "<|endoftext|>").is_number_unsigned()) {
    const auto id = vocabulary["<|endoftext|>"].get<int64_t>();
    tokens.push_back(parse_added_token({{"content", "<|endoftext|>"}, {"special", true}}, id, origin));
  }
  return tokens;
}

/// A template may name tokens of the vocabulary and added ones alone.
void check_template(const TokenizerParts& parts, std::string_view origin) {
  for (const auto* ids : {&parts.prefix, &parts.suffix}) {
    for (const int32_t id : *ids) {
      const bool is_added = std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                                        [&](const AddedToken& token) { return token.id == id; });
      if (id >= parts.model->size() && !is_added) {
        throw Error("{}: TemplateProcessing puts in the id {}, which is no token", origin, id);
      }
    }
  }
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view origin) {
  const Json json = base::parse_json(text, origin);
  if (!json.is_object()) throw Error("{}: a JSON object was expected", origin);
  TokenizerParts parts;
  parts.added_tokens = parse_added_tokens(section(json, "added_tokens"), origin);
  check_added_tokens(parts.added_tokens, origin);
  parts.normalizer = section(json, "normalizer");
  parts.normalize_to_nfc = parse_normalizer(parts.normalizer, origin);
  parts.pre_tokenizer_section = section(json, "pre_tokenizer");
  PreTokenizerSteps steps;
  if (!parts.pre_tokenizer_section.is_null()) parse_pre_tokenizer(parts.pre_tokenizer_section, steps, origin);
  if (!steps.byte_level) {
    throw Error("{}: the pre-tokenizer has no ByteLevel step; byte-level BPE is what is supported", origin);
  }
  parts.add_prefix_space = steps.add_prefix_space;
  parts.pre_tokenizer = make_sequence(std::move(steps.splits));
  parts.post_processor = section(json, "post_processor");
  parse_post_processor(parts.post_processor, parts, origin);
  parts.decoder = section(json, "decoder");
  parse_model(section(json, "model"), parts, origin);
  check_template(parts, origin);
  return parts;
}

TokenizerParts parse_vocabulary_and_merges(std::string_view vocabulary, std::string_view vocabulary_origin,
                                           std::string_view merges, std::string_view merges_origin, Json config) {
  TokenizerParts parts;
  const Json names = base::parse_json(vocabulary, vocabulary_origin);
  parts.added_tokens = added_tokens_of_config(config, names);
  check_added_tokens(parts.added_tokens, vocabulary_origin);
  const bool is_qwen2 = config.is_object() && json_get<std::string>(config, "tokenizer_class", "",
                                                                    "tokenizer_config.json") == "Qwen2Tokenizer";
  parts.config = std::move(config);
  use_pattern(is_qwen2 ? SplitPattern::kQwen2 : SplitPattern::kGpt2, parts);
  if (is_qwen2) {
    parts.normalize_to_nfc = true;
    parts.normalizer = {{"type", "NFC"}};
  }
  BpeBuilder builder(parse_vocabulary(names, parts.added_tokens, vocabulary_origin), merges_origin);
  while (!merges.empty()) {
    const size_t end = std::min(merges.find('\n'), merges.size());
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(std::min(end + 1, merges.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !line.starts_with("#version")) builder.add_merge(line);
  }
  builder.finish(false, parts);
  return parts;
}

Json pre_tokenizer_section(SplitPattern pattern) {
  Json byte_level = {{"type", "ByteLevel"},
                     {"add_prefix_space", false},
                     {"trim_offsets", true},
                     {"use_regex", pattern == SplitPattern::kGpt2}};
  if (pattern == SplitPattern::kGpt2 || pattern == SplitPattern::kWhole) return byte_level;
  Json split = {{"type", "Split"},
                {"pattern", {{"Regex", std::string(split_regex(pattern))}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({std::move(split), std::move(byte_level)})}};
}

}  // namespace fledge::nn
