// The routes of Api that have to do with text: completions, embeddings, tokens, templates.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "serve/api.h"
#include "serve/chat_run.h"
#include "serve/completion_run.h"
#include "serve/json_fields.h"

namespace fledge::serve {
namespace {

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

base::OrderedJson embedding_json(const std::vector<float>& vector, bool as_base64) {
  if (!as_base64) return vector;
  return base64({reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
}

base::OrderedJson describe(const ServedModel& model) {
  base::OrderedJson own{{"context_length", nullptr}, {"vocabulary_size", model.tokenizer->vocabulary_size()}};
  if (model.engine) own["context_length"] = model.engine->context_length();
  own["chat"] = static_cast<bool>(model.encode_chat);
  own["text"] = model.engine != nullptr;
  own["embeddings"] = model.embedder != nullptr;
  return {{"id", model.id},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "fledge"},
          {"max_model_len", own["context_length"]},
          {"fledge", own}};
}

}  // namespace

void Api::models(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  base::OrderedJson data = base::OrderedJson::array();
  for (const auto& model : models_) data.push_back(describe(*model));
  reply->send(json_response({{"object", "list"}, {"data", std::move(data)}}));
}

void Api::model(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  constexpr std::string_view kPath = "/v1/models/";
  reply->send(json_response(describe(*find_model(request.path.substr(kPath.size())))));
}

void Api::chat_completions(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  ChatRequest chat = parse_chat_request(parse_body(request.body));
  const auto model = text_model(chat.model);
  std::string given;
  std::vector<infer::Request> requests = chat_engine_requests(*model, chat, given);
  const auto run = std::make_shared<ChatRun>(*model, reply, events_, metrics_, std::move(chat), std::move(given));
  run->start(std::move(requests));
}

void Api::completions(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  CompletionRequest completion = parse_completion_request(parse_body(request.body));
  const auto model = text_model(completion.model);
  std::vector<std::vector<int32_t>> prompts;
  for (const Prompt& prompt : completion.prompts) prompts.push_back(tokens_of(*model, prompt));
  std::vector<infer::Request> requests = completion_engine_requests(*model, completion, prompts);
  const auto run =
      std::make_shared<CompletionRun>(*model, reply, events_, metrics_, std::move(completion), std::move(prompts));
  run->start(std::move(requests));
}

void Api::embeddings(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const EmbeddingRequest embedding = parse_embedding_request(parse_body(request.body));
  auto model = find_model(embedding.model);
  // Without a name, the first model that can.
  if (embedding.model.empty()) {
    const auto able = std::ranges::find_if(models_, [](const auto& each) { return each->embedder != nullptr; });
    if (able != models_.end()) model = *able;
  }
  if (!model->embedder) {
    throw ApiError(400, fmt::format("the model \"{}\" makes no embeddings; serve an encoder for them", model->id),
                   "model");
  }
  if (embedding.dimensions && *embedding.dimensions != model->embedder->dimensions()) {
    throw ApiError(400,
                   fmt::format("dimensions is {}, and the model's vectors have {}", *embedding.dimensions,
                               model->embedder->dimensions()),
                   "dimensions");
  }
  std::vector<std::vector<int32_t>> texts;
  size_t tokens = 0;
  for (const Prompt& input : embedding.inputs) {
    texts.push_back(tokens_of(*model, input));
    tokens += texts.back().size();
  }
  const std::vector<std::vector<float>> vectors = model->embedder->embed(texts);
  base::OrderedJson data = base::OrderedJson::array();
  for (size_t i = 0; i < vectors.size(); ++i) {
    data.push_back(
        {{"object", "embedding"}, {"index", i}, {"embedding", embedding_json(vectors[i], embedding.base64)}});
  }
  metrics_.count_tokens(static_cast<int64_t>(tokens), 0, 0);
  reply->send(json_response({{"object", "list"},
                             {"data", std::move(data)},
                             {"model", model->id},
                             {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}}));
}

void Api::tokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const base::OrderedJson body = parse_body(request.body);
  JsonFields fields(body);
  const auto model = find_model(fields.text("model").value_or(""));
  auto text = fields.text("content");
  if (!text) text = fields.text("prompt");
  if (!text) text = fields.required_text("text");
  nn::EncodeOptions options;
  options.add_special = fields.boolean("add_special").value_or(false);
  options.match_special = fields.boolean("parse_special").value_or(true);
  const bool with_pieces = fields.boolean("with_pieces").value_or(false);
  const std::vector<int32_t> ids = model->tokenizer->encode(*text, options);
  base::OrderedJson tokens = base::OrderedJson::array();
  for (const int32_t id : ids) {
    if (!with_pieces) {
      tokens.push_back(id);
      continue;
    }
    const std::string_view bytes = model->tokenizer->token_bytes(id);
    tokens.push_back({{"id", id}, {"piece", bytes}, {"bytes", byte_list(bytes)}});
  }
  reply->send(json_response({{"tokens", std::move(tokens)}, {"count", ids.size()}}));
}

void Api::detokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const base::OrderedJson body = parse_body(request.body);
  JsonFields fields(body);
  const auto model = find_model(fields.text("model").value_or(""));
  std::vector<int32_t> ids;
  const base::OrderedJson& tokens = fields.require("tokens");
  if (!tokens.is_array()) fields.fail("tokens", "a list of token ids");
  for (const base::OrderedJson& token : tokens) {
    if (!token.is_number_integer() || token.get<int64_t>() < 0 || token.get<int64_t>() > INT32_MAX) {
      fields.fail("tokens", "a list of token ids");
    }
    ids.push_back(token.get<int32_t>());
  }
  try {
    reply->send(json_response({{"content", model->tokenizer->decode(ids)}}));
  } catch (const base::Error& error) {
    throw ApiError(400, error.what(), "tokens");
  }
}

void Api::apply_template(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const ChatRequest chat = parse_chat_request(parse_body(request.body));
  const auto model = find_model(chat.model);
  const nn::EncodedChat prompt = encode_chat(*model, chat);
  reply->send(json_response({{"prompt", prompt.text}, {"token_count", prompt.ids.size()}}));
}

void Api::health(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  reply->send(json_response({{"status", "ok"}}));
}

void Api::metrics(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  std::vector<std::pair<std::string, infer::EngineStatistics>> engines;
  for (const auto& model : models_) {
    if (model->engine) engines.emplace_back(model->id, model->engine->statistics());
  }
  const HttpCounters counters = http_counters_ ? http_counters_() : HttpCounters{};
  reply->send({200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}}, metrics_.text(counters, engines)});
}

/// /api/chats, /api/chats/ID, /api/chats/ID/messages, /api/chats/ID/messages/ID
void Api::chats(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  if (!store_) throw ApiError(404, "this server keeps no chats");
  std::vector<std::string> parts;
  for (std::string_view rest = std::string_view(request.path).substr(std::strlen("/api/chats")); !rest.empty();) {
    rest.remove_prefix(1);
    parts.emplace_back(rest.substr(0, rest.find('/')));
    rest.remove_prefix(parts.back().size());
  }
  const std::string& method = request.method;
  const auto body = [&] { return parse_body(request.body); };
  const HttpResponse gone{204, {}, {}};
  const bool messages = parts.size() >= 2 && parts[1] == "messages";
  if (parts.empty() && method == "GET") return reply->send(json_response(store_->list()));
  if (parts.empty() && method == "POST") return reply->send(json_response(store_->create(body()), 201));
  if (parts.size() == 1 && method == "GET") return reply->send(json_response(store_->read(parts[0])));
  if (parts.size() == 1 && method == "PATCH") return reply->send(json_response(store_->update(parts[0], body())));
  if (parts.size() == 1 && method == "DELETE") {
    store_->remove(parts[0]);
    return reply->send(gone);
  }
  if (messages && parts.size() == 2 && method == "POST") {
    return reply->send(json_response(store_->add_message(parts[0], body()), 201));
  }
  if (messages && parts.size() == 3 && method == "PATCH") {
    return reply->send(json_response(store_->update_message(parts[0], parts[2], body())));
  }
  if (messages && parts.size() == 3 && method == "DELETE") {
    store_->remove_message(parts[0], parts[2]);
    return reply->send(gone);
  }
  throw ApiError(405, fmt::format("{} does not take {}", request.path.substr(0, 200), method));
}

}  // namespace fledge::serve
