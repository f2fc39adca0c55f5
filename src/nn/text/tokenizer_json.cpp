// Reading of Hugging Face's tokenizer.json, and of the older vocab.json with merges.txt.
#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/json_section.h"
#include "nn/text/model_json.h"
#include "nn/text/pre_tokenizer_json.h"
#include "nn/text/tokenizer.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;
using base::json_get;
using base::json_require;

AddedToken parse_added_token(const Json& entry, int64_t id, std::string_view origin) {
  AddedToken token;
  if (id < 0 || id > kGreatestTokenId)
    throw Error("{}: an added token has the id {}, which is out of range", origin, id);
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

int32_t parse_id(const Json& id, std::string_view what, std::string_view origin) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kGreatestTokenId)) {
    throw Error("{}: the post-processor has a bad id for \"{}\"", origin, what);
  }
  return id.get<int32_t>();
}

/// Ids that a post-processor puts before and after the text.
struct Surroundings {
  std::vector<int32_t> prefix, suffix;
};

Surroundings parse_template(const Json& processor, std::string_view origin) {
  const Json& single = section_of(processor, "single");
  if (!single.is_array()) throw Error("{}: TemplateProcessing has no list \"single\"", origin);
  Surroundings result;
  bool seen_text = false;
  for (const Json& item : single) {
    if (!item.is_object()) throw Error("{}: TemplateProcessing has an item that is not an object", origin);
    if (item.contains("Sequence")) {
      if (seen_text) throw Error("{}: TemplateProcessing puts the text in twice", origin);
      seen_text = true;
      continue;
    }
    const auto name = json_require<std::string>(section_of(item, "SpecialToken"), "id", origin);
    const Json& ids = section_of(section_of(section_of(processor, "special_tokens"), name.c_str()), "ids");
    if (!ids.is_array()) throw Error("{}: TemplateProcessing does not say the ids of \"{}\"", origin, name);
    for (const Json& id : ids) (seen_text ? result.suffix : result.prefix).push_back(parse_id(id, name, origin));
  }
  return result;
}

/// BertProcessing and RobertaProcessing: a pair of name and id for each end.
Surroundings parse_pair(const Json& processor, std::string_view origin) {
  const auto id_of = [&](const char* key) {
    const Json& pair = section_of(processor, key);
    if (!pair.is_array() || pair.size() != 2) throw Error("{}: the post-processor has no pair \"{}\"", origin, key);
    return parse_id(pair[1], key, origin);
  };
  return {{id_of("cls")}, {id_of("sep")}};
}

void parse_post_processor(const Json& processor, TokenizerParts& parts, std::string_view origin) {
  if (processor.is_null()) return;
  const auto type = json_require<std::string>(processor, "type", origin);
  if (type == "ByteLevel") return;  // concerns offsets alone
  if (type == "Sequence" && section_of(processor, "processors").is_array()) {
    for (const Json& step : processor["processors"]) parse_post_processor(step, parts, origin);
    return;
  }
  Surroundings around;
  if (type == "TemplateProcessing") {
    around = parse_template(processor, origin);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    around = parse_pair(processor, origin);
  } else {
    throw Error("{}: the post-processor \"{}\" is not supported", origin, type);
  }
  // A later step goes around what the earlier ones made.
  parts.prefix.insert(parts.prefix.begin(), around.prefix.begin(), around.prefix.end());
  parts.suffix.insert(parts.suffix.end(), around.suffix.begin(), around.suffix.end());
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
  const Json& listed = section_of(config, "added_tokens_decoder");
  if (listed.is_object()) {
    for (const auto& [id, entry] : listed.items()) {
      const bool is_number = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
      if (!is_number) throw Error("{}: \"added_tokens_decoder\" has the key \"{}\", which is no id", origin, id);
      tokens.push_back(parse_added_token(entry, std::stoll(id), origin));
    }
  }
  if (tokens.empty() && section_of(vocabulary, "<|endoftext|>").is_number_unsigned()) {
    const auto id = vocabulary["<|endoftext|>"].get<int64_t>();
    tokens.push_back(parse_added_token({{"content", "<|endoftext|>"}, {"special", true}}, id, origin));
  }
  return tokens;
}

/// Whether a normalizer is nothing but NFC, which works beside bytes that are not UTF-8.
bool is_nfc_alone(const Json& normalizer) {
  if (section_of(normalizer, "type") == "NFC") return true;
  const Json& steps = section_of(normalizer, "normalizers");
  return section_of(normalizer, "type") == "Sequence" && steps.is_array() && !steps.empty() &&
         std::all_of(steps.begin(), steps.end(), [](const Json& step) { return is_nfc_alone(step); });
}

/// Whether the decoder only turns the byte alphabet into bytes, or there is none.
bool decodes_bytes_alone(const Json& decoder) {
  if (decoder.is_null() || section_of(decoder, "type") == "ByteLevel") return true;
  const Json& steps = section_of(decoder, "decoders");
  return section_of(decoder, "type") == "Sequence" && steps.is_array() && steps.size() == 1 &&
         decodes_bytes_alone(steps[0]);
}

/// A template may name tokens of the vocabulary and added ones alone.
void check_template(const TokenizerParts& parts, std::string_view origin) {
  for (const auto* ids : {&parts.prefix, &parts.suffix}) {
    for (const int32_t id : *ids) {
      const bool is_added = std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                                        [&](const AddedToken& token) { return token.id == id; });
      if (id >= parts.model->size() && !is_added) {
        throw Error("{}: the post-processor puts in the id {}, which is no token", origin, id);
      }
    }
  }
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view origin) {
  const Json json = base::parse_json(text, origin);
  if (!json.is_object()) throw Error("{}: a JSON object was expected", origin);
  TokenizerParts parts;
  parts.added_tokens = parse_added_tokens(section_of(json, "added_tokens"), origin);
  check_added_tokens(parts.added_tokens, origin);
  parts.normalizer = section_of(json, "normalizer");
  parts.pre_tokenizer_section = section_of(json, "pre_tokenizer");
  parts.post_processor = section_of(json, "post_processor");
  parts.decoder = section_of(json, "decoder");
  parts.truncation = section_of(json, "truncation");
  parts.padding = section_of(json, "padding");
  const Json& model = section_of(json, "model");
  // Byte-level BPE works on the bytes themselves, not on their alphabet: faster, and exact where text is not UTF-8.
  parts.normalize_to_nfc = is_nfc_alone(parts.normalizer);
  const bool on_bytes = ends_with_byte_level(parts.pre_tokenizer_section) && decodes_bytes_alone(parts.decoder) &&
                        (parts.normalizer.is_null() || parts.normalize_to_nfc) && is_bpe_on_bytes(model, origin);
  parts.normalize_to_nfc = parts.normalize_to_nfc && on_bytes;
  if (!on_bytes) {
    parts.normalization = parse_normalizer(parts.normalizer, origin);
    parts.decoding = std::make_unique<Decoder>(parts.decoder, origin);
  }
  ParsedPreTokenizer pre_tokenizer = parse_pre_tokenizer(parts.pre_tokenizer_section, on_bytes, origin);
  parts.pre_tokenizer = std::move(pre_tokenizer.splitter);
  parts.add_prefix_space = pre_tokenizer.add_prefix_space;
  parse_post_processor(parts.post_processor, parts, origin);
  parse_model(model, on_bytes, parts, origin);
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
  const auto tokens = parse_vocabulary(names, parts.added_tokens, vocabulary_origin);
  BpeMergeReader reader(tokens, "", merges_origin);
  while (!merges.empty()) {
    const size_t end = std::min(merges.find('\n'), merges.size());
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(std::min(end + 1, merges.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !line.starts_with("#version")) reader.add(line);
  }
  set_byte_level_bpe(tokens, reader.take(), false, parts);
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
