#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "serve/answer_text.h"
#include "serve/api_error.h"
#include "serve/event_thread.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/requests.h"
#include "serve/served_model.h"

namespace fledge::serve {

/// One request for text under way: some answers that the engine makes, from the first token to the response or the end
/// of the stream. After start() everything happens on the event thread; the engine's listeners keep the object alive.
class TextRun : public std::enable_shared_from_this<TextRun> {
 public:
  TextRun(const ServedModel& model, std::shared_ptr<HttpReply> reply, EventThread& events, Metrics& metrics,
          const TextRequest& request, const char* id_prefix);
  virtual ~TextRun() = default;

  /// Gives the requests, one per answer, to the engine.
  void start(std::vector<infer::Request> requests);

 protected:
  /// How one answer stands.
  struct Answer {
    AnswerText text;
    infer::TextEngine::RequestId id = 0;
    bool finished = false;
    infer::RequestResult result;
    std::string finish_reason;
  };

  // What the kinds of requests differ in. `stream` is called for chunks where the request streams; pieces are handed
  // over in any case.
  virtual void on_begin() {}
  virtual void on_prompt(size_t, const std::vector<infer::SampledToken>&) {}
  virtual void on_piece(size_t answer, Piece piece) = 0;
  /// The answer's last piece was handed over; may change its finish_reason before it is told.
  virtual void on_answer_end(size_t answer) = 0;
  virtual base::OrderedJson response() = 0;
  /// The object of a chunk or response, with these choices.
  virtual base::OrderedJson envelope(base::OrderedJson choices) const = 0;

  /// Sends a chunk with one choice.
  void stream(base::OrderedJson choice);
  base::OrderedJson usage() const;
  /// What "fledge" holds: tokens, and timings at the end.
  base::OrderedJson own_report(const std::vector<infer::SampledToken>& tokens) const;
  base::OrderedJson timings(const infer::RequestResult& result) const;

  /// Outlives the run: not shared, so that the last run does not end an engine on the engine's own thread.
  const ServedModel* const model_;
  const TextRequest common_;
  const std::string id_;
  const int64_t created_;
  bool keep_special_ = false;
  size_t answers_per_prompt_ = 1;
  std::vector<Answer> answers_;

 private:
  class Listener;
  void submit(std::vector<infer::Request> requests);
  void begin();
  void token(size_t answer, const infer::SampledToken& token);
  void finish(size_t answer, const infer::RequestResult& result);
  void finish_all();
  void fail(const ApiError& error);
  void cancel_all();
  void send_event(const base::OrderedJson& data);

  std::shared_ptr<HttpReply> reply_;
  EventThread& events_;
  Metrics& metrics_;
  std::chrono::steady_clock::time_point started_, last_token_;
  bool first_token_seen_ = false;
  bool begun_ = false, over_ = false;
};

/// "prefix" and 24 random letters and digits.
std::string random_id(const std::string& prefix);
int64_t seconds_now();

}  // namespace fledge::serve
