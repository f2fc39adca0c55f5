#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/json.h"
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

/// The tokens that a post-processor puts before and behind a text; empty where there is none.
struct Frame {
  std::string first, last;
};

Frame frame_of(const Json& processor, const std::string& origin) {
  Frame frame;
  if (!processor.is_object()) return frame;
  if (processor.contains("processors") && processor["processors"].is_array()) {
    for (const Json& part : processor["processors"]) {
      Frame inner = frame_of(part, origin);
      if (!inner.first.empty()) frame.first = std::move(inner.first);
      if (!inner.last.empty()) frame.last = std::move(inner.last);
    }
    return frame;
  }
  // BertProcessing and RobertaProcessing: ["[CLS]", 101].
  const auto named = [&](const char* key) {
    const Json token = processor.value(key, Json());
    return token.is_array() && !token.empty() && token[0].is_string() ? token[0].get<std::string>() : std::string();
  };
  frame = {named("cls"), named("sep")};
  const Json single = processor.value("single", Json());
  if (!single.is_array() || single.empty()) return frame;
  const auto special = [&](const Json& item) {
    const Json token = item.is_object() ? item.value("SpecialToken", Json()) : Json();
    return token.is_object() ? base::json_get<std::string>(token, "id", "", origin) : std::string();
  };
  return {special(single.front()), single.size() > 1 ? special(single.back()) : std::string()};
}

std::optional<size_t> id_of(const std::vector<Token>& tokens, const std::string& text) {
  const auto found = std::ranges::find(tokens, text, &Token::text);
  return text.empty() || found == tokens.end() ? std::nullopt : std::optional<size_t>(found - tokens.begin());
}

/// What goes around a text. In these files it is called "bos" and "eos" whatever its name in the model ([CLS], [SEP]).
void add_frame(const Frame& frame, const std::vector<Token>& tokens, GgufMetadata& metadata) {
  const auto add = [&](const std::string& token, const char* name) {
    const std::optional<size_t> id = id_of(tokens, token);
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    if (id && !metadata.contains(key)) metadata.set_u32(key, static_cast<int64_t>(*id));
    const bool is_that = id && metadata.find(key)->content == *id;
    metadata.set_bool(fmt::format("tokenizer.ggml.add_{}_token", name), is_that);
  };
  add(frame.first, "bos");
  add(frame.last, "eos");
}

void add_special_ids(const std::vector<Token>& tokens, const Json& config, GgufMetadata& metadata) {
  for (const auto& [name, key] : {std::pair{"bos_token", "bos"},
                                  {"eos_token", "eos"},
                                  {"unk_token", "unknown"},
                                  {"pad_token", "padding"},
                                  {"cls_token", "cls"},
                                  {"sep_token", "seperator"},
                                  {"mask_token", "mask"}}) {
    const std::optional<size_t> id = id_of(tokens, token_name(config, name));
    if (id) metadata.set_u32(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<int64_t>(*id));
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

void add_bert_normalizer(const Json& normalizer, const std::string& origin, GgufMetadata& metadata) {
  if (!normalizer.is_object()) return;
  const bool lowercase = base::json_get(normalizer, "lowercase", true, origin);
  metadata.set_bool("tokenizer.ggml.normalizer.lowercase", lowercase);
  const Json strips = normalizer.value("strip_accents", Json());
  metadata.set_bool("tokenizer.ggml.normalizer.strip_accents", strips.is_boolean() ? strips.get<bool>() : lowercase);
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
    add_bert_normalizer(tokenizer.value("normalizer", Json()), origin, metadata);
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
  add_frame(frame_of(tokenizer.value("post_processor", Json()), origin), named, metadata);
  // The format's own place for what the lists cannot say: normalizers, flags of added tokens, other patterns.
  metadata.set_string("tokenizer.huggingface.json", tokenizer.dump());
  if (config.is_object() && config.contains("chat_template") && config["chat_template"].is_string()) {
    metadata.set_string("tokenizer.chat_template", config["chat_template"].get<std::string>());
  }
}

}  // namespace fledge::models
