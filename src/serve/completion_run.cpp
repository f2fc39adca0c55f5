#include "serve/completion_run.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "serve/chat_run.h"

namespace fledge::serve {

std::vector<int32_t> tokens_of(const ServedModel& model, const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    std::vector<int32_t> tokens = model.tokenizer->encode(*text, {.add_special = true});
    // A model continues something: an empty prompt is the end of the text before.
    if (tokens.empty() && !model.end_tokens.empty()) tokens.push_back(model.end_tokens[0]);
    if (tokens.empty()) throw ApiError(400, "the prompt is empty", "prompt");
    return tokens;
  }
  const auto& tokens = std::get<std::vector<int32_t>>(prompt);
  if (tokens.empty()) throw ApiError(400, "the prompt is empty", "prompt");
  for (const int32_t token : tokens) {
    try {
      model.tokenizer->token_bytes(token);
    } catch (const base::Error& error) {
      throw ApiError(400, error.what(), "prompt");
    }
  }
  return tokens;
}

std::vector<infer::Request> completion_engine_requests(const ServedModel& model, const CompletionRequest& request,
                                                       const std::vector<std::vector<int32_t>>& prompts) {
  std::vector<infer::Request> requests;
  for (const std::vector<int32_t>& prompt : prompts) {
    infer::Request first = engine_request(model, request, prompt);
    if (request.echo && request.top_log_probabilities) first.prompt_alternatives = *request.top_log_probabilities;
    for (int64_t answer = 0; answer < request.answers; ++answer) {
      requests.push_back(first);
      requests.back().options.sampling.seed += static_cast<uint64_t>(answer);
    }
  }
  return requests;
}

CompletionRun::CompletionRun(const ServedModel& model, std::shared_ptr<HttpReply> reply, EventThread& events,
                             Metrics& metrics, CompletionRequest request, std::vector<std::vector<int32_t>> prompts)
    : TextRun(model, std::move(reply), events, metrics, request, "cmpl-"),
      request_(std::move(request)),
      prompts_(std::move(prompts)) {
  answers_per_prompt_ = static_cast<size_t>(request_.answers);
  for (size_t answer = 0; answer < prompts_.size() * answers_per_prompt_; ++answer) {
    texts_.push_back({CompletionLogProbabilities(*model_->tokenizer, common_.top_log_probabilities.value_or(0))});
  }
}

base::OrderedJson CompletionRun::envelope(base::OrderedJson choices) const {
  return {{"id", id_},           {"object", "text_completion"},   {"created", created_},
          {"model", model_->id}, {"system_fingerprint", nullptr}, {"choices", std::move(choices)}};
}

base::OrderedJson CompletionRun::choice(size_t answer, const std::string& text,
                                        const std::vector<infer::SampledToken>& tokens, const char* finish_reason) {
  base::OrderedJson result{{"text", text}, {"index", answer}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  if (finish_reason != nullptr) result["finish_reason"] = finish_reason;
  if (common_.top_log_probabilities) result["logprobs"] = texts_[answer].log_probabilities.take();
  if (common_.probabilities) result["fledge"] = own_report(tokens);
  return result;
}

void CompletionRun::on_begin() {
  if (!request_.echo || common_.top_log_probabilities) return;
  for (size_t answer = 0; answer < texts_.size(); ++answer) tell_prompt(answer);
}

void CompletionRun::on_prompt(size_t answer, const std::vector<infer::SampledToken>& tokens) {
  CompletionLogProbabilities& told = texts_[answer].log_probabilities;
  told.add_first(prompts_[answer / answers_per_prompt_][0]);
  for (const infer::SampledToken& token : tokens) told.add(token);
  tell_prompt(answer);
}

/// The prompt goes before the answer, once.
void CompletionRun::tell_prompt(size_t answer) {
  Text& text = texts_[answer];
  if (text.prompt_told || !request_.echo) return;
  text.prompt_told = true;
  const Prompt& prompt = request_.prompts[answer / answers_per_prompt_];
  const auto* given = std::get_if<std::string>(&prompt);
  text.text = given != nullptr ? *given : model_->tokenizer->decode(std::get<std::vector<int32_t>>(prompt));
  if (common_.stream) stream(choice(answer, text.text, {}, nullptr));
}

void CompletionRun::on_piece(size_t answer, Piece piece) {
  tell_prompt(answer);
  // The engine makes one token at least; where none was asked for, it is not told.
  if (request_.max_tokens == 0) return;
  Text& text = texts_[answer];
  text.text += piece.text;
  if (common_.top_log_probabilities) {
    for (const infer::SampledToken& token : piece.tokens) text.log_probabilities.add(token);
  }
  if (common_.stream) return stream(choice(answer, piece.text, piece.tokens, nullptr));
  if (common_.probabilities) std::ranges::move(piece.tokens, std::back_inserter(text.tokens));
}

void CompletionRun::on_answer_end(size_t answer) {
  tell_prompt(answer);
  Answer& state = answers_[answer];
  if (request_.max_tokens == 0) {
    state.finish_reason = "length";
    state.result.answer_tokens = 0;
  }
  if (!common_.stream) return;
  base::OrderedJson last = choice(answer, "", {}, state.finish_reason.c_str());
  last["logprobs"] = nullptr;
  if (common_.probabilities) last["fledge"]["timings"] = timings(state.result);
  stream(std::move(last));
}

base::OrderedJson CompletionRun::response() {
  base::OrderedJson choices = base::OrderedJson::array();
  for (size_t answer = 0; answer < texts_.size(); ++answer) {
    base::OrderedJson one =
        choice(answer, texts_[answer].text, texts_[answer].tokens, answers_[answer].finish_reason.c_str());
    if (common_.probabilities) one["fledge"]["timings"] = timings(answers_[answer].result);
    choices.push_back(std::move(one));
  }
  base::OrderedJson whole = envelope(std::move(choices));
  whole["usage"] = usage();
  return whole;
}

}  // namespace fledge::serve
