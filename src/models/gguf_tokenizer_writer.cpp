#include <algorithm>

#include "base/error.h"
#include "models/gguf_tokenizer.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;

enum TokenKind : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kWordMark = "\u2581";

struct Token {
  std::string text;
  int64_t kind = kUnused;
};

void place(std::vector<Token>& tokens, const Json& id, const std::string& text, int64_t kind,
           const std::string& origin) {
  const bool in_range =
      id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < static_cast<int64_t>(tokens.size());
  if (!in_range) {
    throw Error("{}: the token \"{}\" has the id {}, but the model has {} tokens", origin, text, id.dump(),
                tokens.size());
  }
  tokens[id.get<size_t>()] = {text, kind};
}

/// Every token of the model by id; ids that the tokenizer does not use are filled.
std::vector<Token> read_tokens(const Json& tokenizer, int64_t count, const std::string& origin) {
  std::vector<Token> tokens(static_cast<size_t>(std::max<int64_t>(0, count)));
  for (size_t id = 0; id < tokens.size(); ++id) tokens[id].text = fmt::format("[PAD{}]", id);
  const Json& vocabulary = tokenizer["model"]["vocab"];
  if (!vocabulary.is_object()) throw Error("{}: the model has no object \"vocab\"", origin);
  for (const auto& [text, id] : vocabulary.items()) place(tokens, id, text, kNormal, origin);
  if (tokenizer.contains("added_tokens")) {
    for (const Json& token : tokenizer["added_tokens"]) {
      const bool special = base::json_get(token, "special", false, origin);
      const auto text = base::json_require<std::string>(token, "content", origin);
      place(tokens, token.contains("id") ? token["id"] : Json(), text, special ? kControl : kUserDefined, origin);
    }
  }
  return tokens;
}

/// tokenizer_config.json names a token by its text, or by an object that has it.
std::string token_name(const Json& config, const char* key) {
  const auto found = config.is_object() ? config.find(key) : config.end();
  if (!config.is_object() || found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->is_object() ? base::json_get<std::string>(*found, "content", "", "tokenizer_config.json") : "";
}

/// Whether the post-processor puts the token before a text.
bool begins_with(const Json& processor, const std::string& token) {
  if (!processor.is_object()) return false;
  if (processor.contains("processors") && processor["processors"].is_array()) {
    return std::ranges::any_of(processor["processors"], [&](const Json& part) { return begins_with(part, token); });
  }
  if (!processor.contains("single") || !processor["single"].is_array() || processor["single"].empty()) return false;
  const Json& first = processor["single"][0];
  return first.is_object() && first.contains("SpecialToken") && first["SpecialToken"].value("id", "") == token;
}

void add_special_ids(const std::vector<Token>& tokens, const Json& config, GgufMetadata& metadata) {
  for (const auto& [name, key] : {std::pair{"bos_token", "bos"},
                                  {"eos_token", "eos"},
                                  {"unk_token", "unknown"},
                                  {"pad_token", "padding"},
                                  {"cls_token", "cls"},
                                  {"sep_token", "seperator"},
                                  {"mask_token", "mask"}}) {
    const std::string text = token_name(config, name);
    if (text.empty()) continue;
    const auto found = std::ranges::find(tokens, text, &Token::text);
    if (found != tokens.end()) {
      metadata.set_u32(fmt::format("tokenizer.ggml.{}_token_id", key), found - tokens.begin());
    }
  }
}

Json merges_as_text(const Json& model, const std::string& origin) {
  if (!model.contains("merges") || !model["merges"].is_array()) throw Error("{}: the model has no \"merges\"", origin);
  Json merges = Json::array();
  for (const Json& merge : model["merges"]) {
    if (merge.is_string()) {
      merges.push_back(merge);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      throw Error("{}: a merge is no pair of tokens", origin);
    }
  }
  return merges;
}

/// SentencePiece's scores fall with the order of the merges; llama.cpp joins the pair with the best one first.
Json scores_of(const std::vector<Token>& tokens, const Json& merges) {
  std::map<std::string, double> rank;
  double next = 0.0;
  for (const Json& merge : merges) {
    std::string text = merge.get<std::string>();
    text.erase(text.find(' '), 1);
    rank.emplace(std::move(text), next);
    next -= 1.0;
  }
  Json scores = Json::array();
  for (const Token& token : tokens) {
    const auto found = rank.find(token.text);
    scores.push_back(token.kind != kNormal ? 0.0 : found != rank.end() ? found->second : next);
  }
  return scores;
}

bool is_byte_token(const std::string& text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>');
}

/// Puts the kind of tokenizer in; may rename tokens as the format wants them.
void add_model(const Json& tokenizer, std::vector<Token>& tokens, const std::string& origin, GgufMetadata& metadata) {
  const Json& model = tokenizer["model"];
  const auto type = base::json_get<std::string>(model, "type", "BPE", origin);
  const Json pre_tokenizer = tokenizer.value("pre_tokenizer", Json());
  if (type == "WordPiece") {
    for (Token& token : tokens) {
      if (token.kind != kNormal) continue;
      token.text = token.text.starts_with("##") ? token.text.substr(2) : std::string(kWordMark) + token.text;
    }
    metadata.set_string("tokenizer.ggml.model", "bert");
    metadata.set_string("tokenizer.ggml.pre", "jina-v2-en");
    return;
  }
  if (type != "BPE")
    throw Error("{}: a tokenizer of type \"{}\" is not written to GGUF files; BPE and WordPiece are", origin, type);
  const Json merges = merges_as_text(model, origin);
  if (base::json_get(model, "byte_fallback", false, origin)) {
    const auto unknown = base::json_get<std::string>(model, "unk_token", "", origin);
    for (Token& token : tokens) {
      if (is_byte_token(token.text)) token.kind = kByte;
      if (!unknown.empty() && token.text == unknown) token.kind = kUnknown;
    }
    metadata.set_string("tokenizer.ggml.model", "llama");
    metadata.set_string("tokenizer.ggml.pre", "default");
    metadata.set_array("tokenizer.ggml.scores", GgufValueType::f32, scores_of(tokens, merges));
    metadata.set_bool("tokenizer.ggml.add_space_prefix",
                      tokenizer.value("normalizer", Json()).dump().find("Prepend") != std::string::npos);
    return;
  }
  metadata.set_string("tokenizer.ggml.model", "gpt2");
  metadata.set_string("tokenizer.ggml.pre", gguf_name_of_split(pre_tokenizer, origin));
  metadata.set_array("tokenizer.ggml.merges", GgufValueType::string, merges);
}

}  // namespace

void add_tokenizer(const Json& tokenizer, const Json& config, int64_t vocabulary_size, const std::string& origin,
                   GgufMetadata& metadata) {
  if (!tokenizer.is_object() || !tokenizer.contains("model") || !tokenizer["model"].is_object() ||
      !tokenizer["model"].contains("vocab")) {
    throw Error("{}: there is no model with a vocabulary", origin);
  }
  std::vector<Token> tokens = read_tokens(tokenizer, vocabulary_size, origin);
  const std::vector<Token> named = tokens;
  add_model(tokenizer, tokens, origin, metadata);
  Json texts = Json::array(), kinds = Json::array();
  for (const Token& token : tokens) {
    texts.push_back(token.text);
    kinds.push_back(token.kind);
  }
  metadata.set_array("tokenizer.ggml.tokens", GgufValueType::string, std::move(texts));
  metadata.set_array("tokenizer.ggml.token_type", GgufValueType::i32, std::move(kinds));
  add_special_ids(named, config, metadata);
  const std::string begin = token_name(config, "bos_token");
  metadata.set_bool("tokenizer.ggml.add_bos_token",
                    !begin.empty() && begins_with(tokenizer.value("post_processor", Json()), begin));
  if (config.is_object() && config.contains("chat_template") && config["chat_template"].is_string()) {
    metadata.set_string("tokenizer.chat_template", config["chat_template"].get<std::string>());
  }
}

}  // namespace fledge::models
