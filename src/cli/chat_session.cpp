#include "cli/chat_session.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/signals.h"
#include "infer/stop.h"

namespace fledge::cli {
namespace {

/// How often Ctrl+C is looked for.
constexpr auto kPatience = std::chrono::milliseconds(20);
/// Conversations whose tokens are remembered: those after the last answers.
constexpr size_t kMostKnown = 8;

/// Hands tokens from the engine's thread to the one that shows them.
class AnswerQueue : public infer::RequestListener {
 public:
  bool on_token(const infer::SampledToken& token) override {
    const std::lock_guard lock(mutex_);
    tokens_.push_back(token);
    changed_.notify_all();
    return true;
  }
  void on_finish(const infer::RequestResult& result) override {
    const std::lock_guard lock(mutex_);
    result_ = result;
    changed_.notify_all();
  }

  /// What came since the last call, and the result once all tokens are out; waits a little where nothing came.
  std::pair<std::vector<infer::SampledToken>, std::optional<infer::RequestResult>> take() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return !tokens_.empty() || result_.has_value(); });
    return {std::exchange(tokens_, {}), result_};
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<infer::SampledToken> tokens_;
  std::optional<infer::RequestResult> result_;
};

std::vector<int32_t> end_tokens_of(const base::Json& config, const nn::Tokenizer& tokenizer,
                                   const std::string& origin) {
  std::set<int32_t> tokens;
  if (const auto end = tokenizer.end_token()) tokens.insert(*end);
  const auto found = config.find("eos_token_id");
  if (found != config.end() && !found->is_null()) {
    for (const base::Json& token : found->is_array() ? *found : base::Json::array({*found})) {
      if (!token.is_number_integer())
        throw base::Error("{}: \"eos_token_id\" holds something else than tokens", origin);
      const auto id = token.get<int64_t>();
      if (id >= 0 && id < tokenizer.vocabulary_size()) tokens.insert(static_cast<int32_t>(id));
    }
  }
  return {tokens.begin(), tokens.end()};
}

infer::BatchOptions engine_options(OpenedModel& opened) {
  infer::BatchOptions options;
  options.activation_type = opened.activation_type;
  // Twice the context: an old branch of the conversation stays while a new one grows.
  options.cache_tokens = std::min(infer::default_cache_tokens(opened.model(), opened.activation_type),
                                  2 * opened.model().context_length());
  return options;
}

base::OrderedJson message_of(const std::string& role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

bool ends_with_role(const base::OrderedJson& messages, const char* role) {
  return !messages.empty() && messages.back()["role"] == role;
}

AnswerEnd end_of(infer::FinishReason reason) {
  switch (reason) {
    case infer::FinishReason::end_token:
      return AnswerEnd::end_token;
    case infer::FinishReason::length:
      return AnswerEnd::length;
    case infer::FinishReason::context:
      return AnswerEnd::context;
    case infer::FinishReason::cancelled:
      break;
  }
  return AnswerEnd::interrupted;
}

}  // namespace

base::OrderedJson saved_messages(const base::OrderedJson& saved, const std::string& origin) {
  if (!saved.is_object() || !saved.contains("messages") || !saved["messages"].is_array())
    throw base::Error("{}: holds no saved chat: \"messages\" is not there or not a list", origin);
  base::OrderedJson messages = base::OrderedJson::array();
  for (const auto& message : saved["messages"]) {
    const auto text = [&](const char* key) {
      const bool there = message.is_object() && message.contains(key) && message[key].is_string();
      if (!there) throw base::Error("{}: message {} has no text \"{}\"", origin, messages.size() + 1, key);
      return message[key].get<std::string>();
    };
    const std::string role = text("role");
    if (role != "user" && role != "assistant" && !(role == "system" && messages.empty())) {
      throw base::Error("{}: message {} has the role \"{}\", expected user or assistant, or system at the beginning",
                        origin, messages.size() + 1, role);
    }
    messages.push_back(message_of(role, text("content")));
  }
  return messages;
}

base::Json generation_config_of(OpenedModel& opened) {
  base::Json config = opened.model().generation_config();
  const auto path = opened.folder / models::kGenerationConfigFile;
  if (!std::filesystem::is_regular_file(path)) return config;
  const base::Json file = base::read_json(path);
  if (!file.is_object()) throw base::Error("{}: holds no JSON object", path.string());
  config.update(file);
  return config;
}

ChatSession::ChatSession(OpenedModel opened, nn::Tokenizer tokenizer, nn::ChatTemplate chat_template,
                         ChatSettings settings, Drafting drafting)
    : opened_(std::move(opened)),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      encoder_(template_, tokenizer_),
      end_tokens_(end_tokens_of(generation_config_of(opened_), tokenizer_, model_name())),
      draft_model_(std::move(drafting.model)),
      engine_(opened_.model(), opened_.memory(), engine_options(opened_), std::move(drafting.drafter)),
      settings_(std::move(settings)) {}

nn::EncodedChat ChatSession::encode(const base::OrderedJson& messages, bool begin_answer) const {
  nn::ChatRenderOptions options;
  options.add_generation_prompt = begin_answer;
  return encoder_.encode(messages, nullptr, options, known_);
}

infer::Request ChatSession::request_of(const nn::EncodedChat& chat) {
  const auto length = static_cast<int64_t>(chat.ids.size());
  if (length >= context_length()) {
    throw ConversationTooLong(
        "the conversation has {} tokens and the model's context is {}: no room is left for an answer, and nothing is "
        "cut silently",
        length, context_length());
  }
  infer::Request request;
  request.prompt = chat.ids;
  request.options.sampling = settings_.sampling;
  request.options.sampling.seed = settings_.seed ? *settings_.seed + answers_ : std::random_device{}();
  request.options.sampling.alternatives = alternatives_;
  request.options.max_tokens = settings_.max_tokens;
  request.options.token_count = tokenizer_.vocabulary_size();
  request.options.end_tokens = end_tokens_;
  return request;
}

Answer ChatSession::answer(const base::OrderedJson& messages, const std::function<void(const std::string&)>& show) {
  const nn::EncodedChat chat = encode(messages, true);
  infer::StopFilter filter(settings_.stop);
  nn::StreamDecoder decoder(tokenizer_);
  Answer answer;
  answer.prompt = chat.ids;
  for (const nn::EncodedChat& known : known_) {
    if (known.ids.size() <= chat.ids.size() && std::equal(known.ids.begin(), known.ids.end(), chat.ids.begin()))
      answer.new_from = std::max(answer.new_from, static_cast<int64_t>(known.ids.size()));
  }
  const auto emit = [&](const std::string& text) {
    answer.text += text;
    if (!text.empty()) show(text);
  };
  base::clear_interrupt();
  const auto queue = std::make_shared<AnswerQueue>();
  const auto id = engine_.submit(request_of(chat), queue);
  ++answers_;
  bool interrupted = false;
  std::optional<infer::RequestResult> result;
  while (!result) {
    auto [tokens, finished] = queue->take();
    for (const infer::SampledToken& token : tokens) {
      if (interrupted || filter.found()) break;
      answer.tokens.push_back(token);
      emit(filter.push(decoder.push(token.token)));
      if (filter.found()) engine_.cancel(id);
    }
    if (!interrupted && !filter.found() && !finished && base::interrupted()) {
      interrupted = true;
      engine_.cancel(id);
    }
    result = finished;
  }
  if (!result->error.empty()) throw base::Error("{}", result->error);
  if (!filter.found()) emit(filter.push(decoder.finish()));
  emit(filter.finish());
  base::clear_interrupt();
  answer.cached_tokens = result->cached_tokens;
  answer.drafts = result->drafts;
  answer.end = interrupted ? AnswerEnd::interrupted : filter.found() ? AnswerEnd::stop_text : end_of(result->reason);

  std::vector<int32_t> ids;
  for (const infer::SampledToken& token : answer.tokens) ids.push_back(token.token);
  if (tokenizer_.decode(ids, true) == answer.text) {
    known_.push_back(encoder_.with_answer(chat, answer.text, ids));
    if (known_.size() > kMostKnown) known_.erase(known_.begin());
  }
  return answer;
}

Answer ChatSession::keep(base::OrderedJson messages, Answer answer) {
  if (answer.text.empty() && answer.end == AnswerEnd::interrupted) return answer;
  messages.push_back(message_of("assistant", answer.text));
  messages_ = std::move(messages);
  last_answer_ = answer;
  return answer;
}

Answer ChatSession::ask(const std::string& message, const std::function<void(const std::string&)>& show) {
  base::OrderedJson messages = messages_;
  if (ends_with_role(messages, "user"))
    throw base::UsageError("the last message has no answer yet; /regen answers it, /clear begins anew");
  messages.push_back(message_of("user", message));
  Answer made = answer(messages, show);
  return keep(std::move(messages), std::move(made));
}

Answer ChatSession::answer_again(const std::function<void(const std::string&)>& show) {
  base::OrderedJson messages = messages_;
  if (ends_with_role(messages, "assistant")) messages.erase(messages.size() - 1);
  if (!ends_with_role(messages, "user")) throw base::UsageError("there is no message to answer yet");
  Answer made = answer(messages, show);
  return keep(std::move(messages), std::move(made));
}

std::string ChatSession::system() const {
  return !messages_.empty() && messages_[0]["role"] == "system" ? messages_[0]["content"].get<std::string>() : "";
}

void ChatSession::set_system(const std::string& text) {
  base::OrderedJson messages = base::OrderedJson::array();
  if (!text.empty()) {
    messages.push_back(message_of("system", text));
    base::OrderedJson trial = messages;
    trial.push_back(message_of("user", "."));
    if (encode(trial, true).text.find(text) == std::string::npos)
      throw base::Error("the model's chat template leaves a system message out");
  }
  for (const auto& message : messages_) {
    if (message["role"] != "system") messages.push_back(message);
  }
  messages_ = std::move(messages);
}

void ChatSession::clear() {
  const std::string text = system();
  messages_ = base::OrderedJson::array();
  if (!text.empty()) messages_.push_back(message_of("system", text));
  last_answer_.reset();
}

std::string ChatSession::rendered() const {
  if (messages_.empty()) throw base::UsageError("nothing has been said yet");
  return encode(messages_, ends_with_role(messages_, "user")).text;
}

base::OrderedJson ChatSession::to_json() const {
  return {{"model", model_name()}, {"messages", messages_}, {"settings", cli::to_json(settings_)}};
}

void ChatSession::load(const base::OrderedJson& saved, const std::string& origin) {
  base::OrderedJson messages = saved_messages(saved, origin);
  ChatSettings settings = saved.contains("settings") ? settings_from_json(saved["settings"], origin) : settings_;
  try {
    if (!messages.empty()) encode(messages, ends_with_role(messages, "user"));
  } catch (const base::Error& error) {
    throw base::Error("{}: the model's chat template does not take these messages: {}", origin, error.what());
  }
  messages_ = std::move(messages);
  settings_ = std::move(settings);
  last_answer_.reset();
}

}  // namespace fledge::cli
