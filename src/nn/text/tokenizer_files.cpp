// Folders and files of a tokenizer: finding them, writing them, and OpenAI's rank files.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "nn/text/base64.h"
#include "nn/text/bpe_model.h"
#include "nn/text/json_section.h"
#include "nn/text/model_json.h"
#include "nn/text/tokenizer.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {
namespace {

namespace filesystem = std::filesystem;
using base::Error;
using base::Json;

constexpr size_t kLongestRankToken = 4096;
constexpr int32_t kNoToken = -1;

/// The one rank file of a folder, or nothing.
filesystem::path find_rank_file(const filesystem::path& folder) {
  filesystem::path found;
  std::error_code error;
  for (const auto& entry : filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".tiktoken") continue;
    if (!found.empty()) {
      throw Error("{}: there is more than one *.tiktoken file; name the file itself", folder.string());
    }
    found = entry.path();
  }
  return found;
}

/// NAME.model or, as Mistral has them, NAME.model.v1 and so on; also spiece.model of T5.
bool is_sentence_piece(const filesystem::path& path) {
  const std::string name = path.filename().string();
  return !filesystem::is_directory(path) && (name.ends_with(".model") || name.find(".model.v") != std::string::npos);
}

/// What SentencePiece's file does not say and a folder does: which tokens a text begins and ends with.
void apply_config(const Json& config, TokenizerParts& parts, const std::string& origin) {
  const auto id_of = [&](const char* wanted, const char* name) {
    const Json& value = section_of(config, name);
    const Json& token = value.is_object() ? section_of(value, "content") : value;
    if (!base::json_get(config, wanted, false, origin) || !token.is_string()) return kNoToken;
    return parts.model->token_id(token.get<std::string>()).value_or(kNoToken);
  };
  const int32_t begin = id_of("add_bos_token", "bos_token"), end = id_of("add_eos_token", "eos_token");
  if (begin == kNoToken && end == kNoToken) return;
  Json single = Json::array(), specials = Json::object();
  const auto add = [&](int32_t id) {
    const std::string name(parts.model->token_bytes(id));
    single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
    specials[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
  };
  if (begin != kNoToken) {
    parts.prefix = {begin};
    add(begin);
  }
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (end != kNoToken) {
    parts.suffix = {end};
    add(end);
  }
  Json pair = single;
  for (Json item : single) {
    if (item.contains("Sequence")) item["Sequence"]["id"] = "B";
    pair.push_back(std::move(item));
  }
  parts.post_processor = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
}

TokenizerParts load_parts(const filesystem::path& path, SplitPattern pattern) {
  if (!filesystem::exists(path)) throw Error("{}: there is no such tokenizer file or folder", path.string());
  if (path.extension() == ".tiktoken") return parse_tiktoken(base::MappedFile(path).text(), path.string(), pattern);
  if (is_sentence_piece(path)) return parse_sentence_piece(base::MappedFile(path).text(), path.string());
  if (!filesystem::is_directory(path)) return parse_tokenizer_json(base::MappedFile(path).text(), path.string());
  const filesystem::path file = path / "tokenizer.json", config_file = path / "tokenizer_config.json";
  Json config;
  if (filesystem::exists(config_file)) config = base::read_json(config_file);
  if (filesystem::exists(file)) {
    TokenizerParts parts = parse_tokenizer_json(base::MappedFile(file).text(), file.string());
    parts.config = std::move(config);
    return parts;
  }
  const filesystem::path vocabulary = path / "vocab.json", merges = path / "merges.txt";
  if (filesystem::exists(vocabulary) && filesystem::exists(merges)) {
    return parse_vocabulary_and_merges(base::MappedFile(vocabulary).text(), vocabulary.string(),
                                       base::MappedFile(merges).text(), merges.string(), std::move(config));
  }
  for (const char* name : {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
    if (!filesystem::exists(path / name)) continue;
    TokenizerParts parts = parse_sentence_piece(base::MappedFile(path / name).text(), (path / name).string());
    if (!config.is_object()) return parts;
    apply_config(config, parts, config_file.string());
    parts.config = std::move(config);
    return parts;
  }
  const filesystem::path ranks = find_rank_file(path);
  if (!ranks.empty()) return parse_tiktoken(base::MappedFile(ranks).text(), ranks.string(), pattern);
  throw Error(
      "{}: the folder holds no tokenizer (tokenizer.json, vocab.json with merges.txt, tokenizer.model, or *.tiktoken)",
      path.string());
}

Json added_token_json(const AddedToken& token) {
  return {{"content", token.content}, {"lstrip", token.lstrip},           {"normalized", token.normalized},
          {"rstrip", token.rstrip},   {"single_word", token.single_word}, {"special", token.special}};
}

/// What `transformers` needs to open the folder, where no configuration was read.
Json default_config(const TokenizerParts& parts) {
  Json decoder = Json::object();
  for (const AddedToken& token : parts.added_tokens) decoder[std::to_string(token.id)] = added_token_json(token);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"added_tokens_decoder", std::move(decoder)}};
  for (const AddedToken& token : parts.added_tokens) {
    if (token.content != "<|endoftext|>") continue;
    config["bos_token"] = config["eos_token"] = config["unk_token"] = token.content;
  }
  return config;
}

}  // namespace

std::string tokenizer_json(const TokenizerParts& parts) {
  std::string text = "{\n\"version\": \"1.0\",\n\"truncation\": " + parts.truncation.dump();
  text += ",\n\"padding\": " + parts.padding.dump() + ",\n\"added_tokens\": [";
  for (size_t i = 0; i < parts.added_tokens.size(); ++i) {
    Json entry = added_token_json(parts.added_tokens[i]);
    entry["id"] = parts.added_tokens[i].id;
    text += (i == 0 ? "\n" : ",\n") + entry.dump();
  }
  text += "],\n\"normalizer\": " + parts.normalizer.dump();
  text += ",\n\"pre_tokenizer\": " + parts.pre_tokenizer_section.dump();
  text += ",\n\"post_processor\": " + parts.post_processor.dump();
  text += ",\n\"decoder\": " + parts.decoder.dump() + ",\n";
  append_model(parts, text);
  text += "\n}\n";
  return text;
}

TokenizerParts parse_tiktoken(std::string_view text, std::string_view origin, SplitPattern pattern) {
  std::vector<std::string> tokens;
  size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string token;
    uint64_t rank = 0;
    const std::string_view number = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), rank);
    if (number.empty() || parsed.ec != std::errc{} || parsed.ptr != number.data() + number.size() || space == 0 ||
        !append_base64(line.substr(0, space), token)) {
      throw Error("{}: line {} is not a token in base64 and its rank", origin, line_number);
    }
    if (token.size() > kLongestRankToken) {
      throw Error("{}: the token on line {} has {} bytes; at most {} are read", origin, line_number, token.size(),
                  kLongestRankToken);
    }
    if (rank != tokens.size()) {
      throw Error("{}: line {} has the rank {} where {} was expected: ranks rise one by one without a hole", origin,
                  line_number, rank, tokens.size());
    }
    tokens.push_back(std::move(token));
  }
  if (tokens.empty()) throw Error("{}: there is no token in the file", origin);
  TokenizerParts parts;
  parts.model = std::make_unique<BpeModel>(tokens, merges_from_ranks(tokens), true);
  parts.pre_tokenizer = make_scanner(pattern);
  parts.pre_tokenizer_section = pre_tokenizer_section(pattern);
  parts.decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  return parts;
}

Tokenizer Tokenizer::load(const filesystem::path& path, SplitPattern rank_file_pattern) {
  return Tokenizer(load_parts(path, rank_file_pattern));
}

void Tokenizer::save(const filesystem::path& folder) const {
  base::create_folder(folder);
  base::write_file(folder / "tokenizer.json", tokenizer_json(*parts_));
  const Json& config = parts_->config;
  base::write_file(folder / "tokenizer_config.json", (config.is_object() ? config : default_config(*parts_)).dump(2));
}

}  // namespace fledge::nn
