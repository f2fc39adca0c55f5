#include "serve/chat_run.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace fledge::serve {
namespace {

std::vector<std::string> names_of(const std::vector<Tool>& tools) {
  std::vector<std::string> names;
  for (const Tool& tool : tools) names.push_back(tool.name);
  return names;
}

bool must_call(const ChatRequest& request) {
  return request.tool_choice == ToolChoice::required || request.tool_choice == ToolChoice::named;
}

}  // namespace

nn::EncodedChat encode_chat(const ServedModel& model, const ChatRequest& request, const std::string& answer_begin) {
  if (!model.encode_chat) {
    throw ApiError(
        400,
        fmt::format("the model \"{}\" has no chat template: it was not trained to chat; use /v1/completions", model.id),
        "model");
  }
  ChatInput input{request.messages,
                  {},
                  request.add_generation_prompt,
                  request.template_arguments,
                  {request.continue_final_message, answer_begin}};
  if (request.tool_choice != ToolChoice::none) input.tools = request.tool_definitions;
  try {
    return model.encode_chat(input);
  } catch (const nn::ChatEndingError& error) {
    throw ApiError(400, error.what(), "continue_final_message");
  } catch (const base::Error& error) {
    throw ApiError(400, error.what(), "messages");
  }
}

infer::Request engine_request(const ServedModel& model, const TextRequest& request, std::vector<int32_t> prompt) {
  const int64_t context = model.engine->context_length();
  const auto length = static_cast<int64_t>(prompt.size());
  if (length >= context) {
    throw ApiError(
        400,
        fmt::format("the prompt has {} tokens and the context of the model \"{}\" is {}: no room is left for "
                    "an answer; nothing is cut silently, so shorten the prompt",
                    length, model.id, context),
        "messages", "context_length_exceeded");
  }
  const int32_t vocabulary = model.tokenizer->vocabulary_size();
  for (const infer::TokenBias& bias : request.sampling.logit_bias) {
    if (bias.token >= vocabulary) {
      throw ApiError(400, fmt::format("logit_bias names token {}, and the model has {} tokens", bias.token, vocabulary),
                     "logit_bias");
    }
  }
  infer::Request result;
  result.prompt = std::move(prompt);
  result.options.sampling = request.sampling;
  result.options.sampling.alternatives =
      std::max(request.top_log_probabilities.value_or(0), request.probabilities.value_or(0));
  result.options.sampling.log_probability = request.top_log_probabilities || request.probabilities;
  result.options.max_tokens = std::max<int64_t>(1, std::min(request.max_tokens.value_or(context), context - length));
  result.options.token_count = vocabulary;
  result.options.end_tokens = model.end_tokens;
  return result;
}

std::vector<infer::Request> chat_engine_requests(const ServedModel& model, const ChatRequest& request,
                                                 std::string& given) {
  base::OrderedJson schema;
  bool constrained = false;
  if (must_call(request)) {
    const ToolConvention convention = convention_of(model.template_source);
    given = call_prefix(convention);
    schema = call_schema(request.tools, request.chosen_tool, convention);
    constrained = true;
  } else if (request.format.schema) {
    schema = *request.format.schema;
    constrained = true;
  }
  const infer::Request first = engine_request(model, request, encode_chat(model, request, given).ids);
  std::vector<infer::Request> requests;
  for (int64_t answer = 0; answer < request.answers; ++answer) {
    infer::Request& next = requests.emplace_back(first);
    next.options.sampling.seed += static_cast<uint64_t>(answer);
    if (!constrained) continue;
    const char* const parameter = must_call(request) ? "tools" : "response_format";
    if (!model.constrain) {
      throw ApiError(400, "this server cannot hold answers to a JSON Schema", parameter);
    }
    try {
      next.constraint = model.constrain(schema);
    } catch (const base::Error& error) {
      throw ApiError(400, error.what(), parameter);
    }
  }
  return requests;
}

ChatRun::ChatRun(const ServedModel& model, std::shared_ptr<HttpReply> reply, EventThread& events, Metrics& metrics,
                 ChatRequest request, std::string given)
    : TextRun(model, std::move(reply), events, metrics, request, "chatcmpl-"),
      request_(std::move(request)),
      given_(std::move(given)),
      finds_calls_(request_.tool_choice != ToolChoice::none) {
  keep_special_ = finds_calls_;
  answers_per_prompt_ = static_cast<size_t>(request_.answers);
  for (int64_t answer = 0; answer < request_.answers; ++answer) {
    messages_.emplace_back(names_of(request_.tools));
    if (!given_.empty()) messages_.back().parser.push(given_);
  }
}

base::OrderedJson ChatRun::envelope(base::OrderedJson choices) const {
  return {{"id", id_},
          {"object", common_.stream ? "chat.completion.chunk" : "chat.completion"},
          {"created", created_},
          {"model", model_->id},
          {"system_fingerprint", nullptr},
          {"choices", std::move(choices)}};
}

base::OrderedJson ChatRun::choice(size_t answer, base::OrderedJson delta, const char* finish_reason) {
  base::OrderedJson result{
      {"index", answer}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  if (finish_reason != nullptr) result["finish_reason"] = finish_reason;
  std::vector<infer::SampledToken> tokens = std::exchange(messages_[answer].waiting, {});
  if (common_.top_log_probabilities && !tokens.empty()) {
    result["logprobs"] = chat_log_probabilities(*model_->tokenizer, tokens);
  }
  if (common_.probabilities) result["fledge"] = own_report(tokens);
  return result;
}

void ChatRun::on_begin() {
  for (size_t answer = 0; answer < messages_.size(); ++answer) {
    stream(choice(answer, {{"role", "assistant"}, {"content", ""}}, nullptr));
  }
}

void ChatRun::on_piece(size_t answer, Piece piece) {
  Message& message = messages_[answer];
  if (common_.top_log_probabilities || common_.probabilities) {
    auto& tokens = common_.stream ? message.waiting : message.tokens;
    std::ranges::move(piece.tokens, std::back_inserter(tokens));
  }
  add(answer, finds_calls_ ? message.parser.push(piece.text) : piece.text);
}

/// Text for the user, and calls that became complete.
void ChatRun::add(size_t answer, const std::string& text) {
  Message& message = messages_[answer];
  message.content += text;
  if (!text.empty() || (!finds_calls_ && !message.waiting.empty())) {
    stream(choice(answer, {{"content", text}}, nullptr));
  }
  for (ToolCall& call : message.parser.take_calls()) {
    if (!request_.parallel_tool_calls && !message.calls.empty()) break;
    base::OrderedJson told{{"id", random_id("call_")},
                           {"type", "function"},
                           {"function", {{"name", std::move(call.name)}, {"arguments", std::move(call.arguments)}}}};
    base::OrderedJson delta{{"index", message.calls.size()}};
    delta.update(told);
    message.calls.push_back(std::move(told));
    stream(choice(answer, {{"tool_calls", base::OrderedJson::array({std::move(delta)})}}, nullptr));
  }
}

void ChatRun::on_answer_end(size_t answer) {
  Message& message = messages_[answer];
  Answer& state = answers_[answer];
  if (finds_calls_) add(answer, message.parser.finish());
  if (!message.calls.empty() && state.finish_reason == "stop") state.finish_reason = "tool_calls";
  if (!common_.stream) return;
  base::OrderedJson last = choice(answer, base::OrderedJson::object(), state.finish_reason.c_str());
  if (common_.probabilities) last["fledge"]["timings"] = timings(state.result);
  stream(std::move(last));
}

base::OrderedJson ChatRun::response() {
  base::OrderedJson choices = base::OrderedJson::array();
  for (size_t answer = 0; answer < messages_.size(); ++answer) {
    Message& message = messages_[answer];
    base::OrderedJson told{{"role", "assistant"}, {"content", message.content}, {"refusal", nullptr}};
    if (!message.calls.empty()) {
      if (message.content.empty()) told["content"] = nullptr;
      told["tool_calls"] = message.calls;
    }
    base::OrderedJson one{{"index", answer},
                          {"message", std::move(told)},
                          {"logprobs", nullptr},
                          {"finish_reason", answers_[answer].finish_reason}};
    if (common_.top_log_probabilities) {
      one["logprobs"] = chat_log_probabilities(*model_->tokenizer, message.tokens);
    }
    if (common_.probabilities) {
      one["fledge"] = own_report(message.tokens);
      one["fledge"]["timings"] = timings(answers_[answer].result);
    }
    choices.push_back(std::move(one));
  }
  base::OrderedJson whole = envelope(std::move(choices));
  whole["usage"] = usage();
  return whole;
}

}  // namespace fledge::serve
