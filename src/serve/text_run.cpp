#include "serve/text_run.h"

#include <random>

#include "base/error.h"
#include "base/json.h"

namespace fledge::serve {

std::string random_id(const std::string& prefix) {
  static constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id = prefix;
  for (int i = 0; i < 24; ++i) id += kLetters[random() % kLetters.size()];
  return id;
}

int64_t seconds_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Carries what the engine says over to the event thread.
class TextRun::Listener : public infer::RequestListener {
 public:
  Listener(std::shared_ptr<TextRun> run, size_t answer) : run_(std::move(run)), answer_(answer) {}

  void on_prompt(const std::vector<infer::SampledToken>& tokens) override {
    run_->events_.post([run = run_, answer = answer_, tokens] {
      if (!run->over_) run->on_prompt(answer, tokens);
    });
  }
  bool on_token(const infer::SampledToken& token) override {
    if (run_->reply_->client_left()) return false;
    run_->events_.post([run = run_, answer = answer_, token] { run->token(answer, token); });
    return true;
  }
  void on_finish(const infer::RequestResult& result) override {
    run_->events_.post([run = run_, answer = answer_, result] { run->finish(answer, result); });
  }

 private:
  std::shared_ptr<TextRun> run_;
  size_t answer_;
};

TextRun::TextRun(const ServedModel& model, std::shared_ptr<HttpReply> reply, EventThread& events, Metrics& metrics,
                 const TextRequest& request, const char* id_prefix)
    : model_(&model),
      common_(request),
      id_(random_id(id_prefix)),
      created_(seconds_now()),
      reply_(std::move(reply)),
      events_(events),
      metrics_(metrics),
      started_(std::chrono::steady_clock::now()) {}

void TextRun::start(std::vector<infer::Request> requests) {
  events_.post(
      [self = shared_from_this(), requests = std::move(requests)]() mutable { self->submit(std::move(requests)); });
}

void TextRun::submit(std::vector<infer::Request> requests) {
  for (size_t i = 0; i < requests.size(); ++i) {
    answers_.push_back({AnswerText(*model_->tokenizer, common_.stop, keep_special_), 0, false, {}, {}});
  }
  // Its event waits behind this one, so that no token comes before all is set up.
  reply_->on_client_left([weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->events_.post([self] {
        self->over_ = true;
        self->cancel_all();
      });
    }
  });
  for (size_t i = 0; i < requests.size(); ++i) {
    try {
      answers_[i].id =
          model_->engine->submit(std::move(requests[i]), std::make_shared<Listener>(shared_from_this(), i));
    } catch (const infer::QueueFullError& error) {
      return fail(ApiError(429, error.what(), {}, "queue_full"));
    } catch (const base::UsageError& error) {
      return fail(ApiError(400, error.what()));
    } catch (const base::Error& error) {
      return fail(ApiError(500, error.what()));
    }
  }
  if (common_.stream) begin();
}

void TextRun::begin() {
  begun_ = true;
  HttpResponse head{200, {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-cache"}}, {}};
  if (!common_.ignored.empty()) head.headers.push_back({"x-fledge-ignored", joined_fields(common_.ignored)});
  reply_->begin(std::move(head));
  on_begin();
}

void TextRun::token(size_t index, const infer::SampledToken& token) {
  Answer& answer = answers_[index];
  if (over_ || answer.text.stopped()) return;
  const auto now = std::chrono::steady_clock::now();
  if (!first_token_seen_) {
    first_token_seen_ = true;
    metrics_.observe_first_token(std::chrono::duration<double>(now - started_).count());
  } else if (answers_.size() == 1) {
    metrics_.observe_next_token(std::chrono::duration<double>(now - last_token_).count());
  }
  last_token_ = now;
  ++answer.result.answer_tokens;
  if (Piece piece = answer.text.push(token); !piece.empty()) on_piece(index, std::move(piece));
  if (answer.text.stopped()) model_->engine->cancel(answer.id);
}

void TextRun::finish(size_t index, const infer::RequestResult& result) {
  Answer& answer = answers_[index];
  answer.finished = true;
  // The engine may have made tokens behind a stop string; they are not part of the answer.
  const int64_t told = answer.result.answer_tokens;
  answer.result = result;
  answer.result.answer_tokens = told;
  metrics_.count_tokens(result.prompt_tokens, result.cached_tokens, told);
  if (over_) return;
  if (!result.error.empty()) return fail(ApiError(500, result.error));
  if (result.reason == infer::FinishReason::cancelled && !answer.text.stopped()) {
    return fail(ApiError(503, "the server is stopping and ended this answer"));
  }
  const bool stopped = answer.text.stopped() || result.reason == infer::FinishReason::end_token;
  answer.finish_reason = stopped ? "stop" : "length";
  if (Piece piece = answer.text.finish(); !piece.empty()) on_piece(index, std::move(piece));
  on_answer_end(index);
  for (const Answer& other : answers_) {
    if (!other.finished) return;
  }
  finish_all();
}

void TextRun::finish_all() {
  over_ = true;
  metrics_.observe_request(std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  if (!common_.stream) {
    HttpResponse whole = json_response(response());
    if (!common_.ignored.empty()) whole.headers.push_back({"x-fledge-ignored", joined_fields(common_.ignored)});
    return reply_->send(std::move(whole));
  }
  if (common_.include_usage) {
    base::OrderedJson last = envelope(base::OrderedJson::array());
    last["usage"] = usage();
    send_event(last);
  }
  reply_->write("data: [DONE]\n\n");
  reply_->end();
}

void TextRun::fail(const ApiError& error) {
  over_ = true;
  cancel_all();
  metrics_.count_failure();
  if (!begun_) return reply_->send(error_response(error));
  send_event(error_json(error));
  reply_->end();
}

void TextRun::cancel_all() {
  for (const Answer& answer : answers_) {
    if (answer.id != 0 && !answer.finished) model_->engine->cancel(answer.id);
  }
}

void TextRun::send_event(const base::OrderedJson& data) {
  reply_->write("data: " + to_text(data) + "\n\n");
}

void TextRun::stream(base::OrderedJson choice) {
  if (!begun_) return;
  base::OrderedJson own;
  if (const auto found = choice.find("fledge"); found != choice.end()) {
    own = std::move(*found);
    choice.erase("fledge");
  }
  base::OrderedJson chunk = envelope(base::OrderedJson::array({std::move(choice)}));
  if (common_.include_usage) chunk["usage"] = nullptr;
  if (!own.is_null()) chunk["fledge"] = std::move(own);
  send_event(chunk);
}

base::OrderedJson TextRun::usage() const {
  int64_t prompt = 0, cached = 0, made = 0;
  for (size_t i = 0; i < answers_.size(); ++i) {
    made += answers_[i].result.answer_tokens;
    if (i % answers_per_prompt_ != 0) continue;
    prompt += answers_[i].result.prompt_tokens;
    cached += answers_[i].result.cached_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", made},
          {"total_tokens", prompt + made},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

base::OrderedJson TextRun::own_report(const std::vector<infer::SampledToken>& tokens) const {
  return {{"tokens", token_reports(*model_->tokenizer, tokens)}};
}

base::OrderedJson TextRun::timings(const infer::RequestResult& result) const {
  return {{"prompt_tokens", result.prompt_tokens},   {"cached_tokens", result.cached_tokens},
          {"answer_tokens", result.answer_tokens},   {"queue_seconds", result.queue_seconds},
          {"prompt_seconds", result.prompt_seconds}, {"answer_seconds", result.answer_seconds},
          {"guessed_tokens", result.drafts.guessed}, {"right_guesses", result.drafts.right}};
}

}  // namespace fledge::serve
