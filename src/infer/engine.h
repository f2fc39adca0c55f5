#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "infer/drafter.h"
#include "infer/generator.h"
#include "infer/token_constraint.h"

namespace fledge::infer {

/// What a caller asks of an Engine.
struct Request {
  std::vector<int32_t> prompt;
  GenerationOptions options;
  std::shared_ptr<TokenConstraint> constraint;  ///< null: free text
  /// The adapter of the model that answers; null: the base alone. It must be one of the model's own.
  const grad::AdapterIdentity* adapter = nullptr;
  /// Report the log-probability of every prompt token but the first, and this many of the likeliest beside it; -1: no.
  int64_t prompt_alternatives = -1;
};

/// How a request went.
struct RequestResult {
  FinishReason reason = FinishReason::cancelled;
  std::string error;          ///< not empty: the request failed, in one sentence
  int64_t prompt_tokens = 0;  ///< tokens of the prompt
  int64_t cached_tokens = 0;  ///< of these, tokens whose keys and values were there already
  int64_t answer_tokens = 0;  ///< tokens made
  DraftCounts drafts;
  double queue_seconds = 0;   ///< from submit() until the prompt's first token was read
  double prompt_seconds = 0;  ///< from there until the first token was made
  double answer_seconds = 0;  ///< from there until the end
};

/// Receives what happens to one request. Called on the engine's own thread: hand over and return at once.
class RequestListener {
 public:
  virtual ~RequestListener() = default;
  /// The prompt's tokens from the second on, with their log-probabilities (where asked for).
  virtual void on_prompt(const std::vector<SampledToken>&) {}
  /// A token was made. Returning false ends the request (its reason is then `cancelled`).
  virtual bool on_token(const SampledToken& token) = 0;
  /// The last call.
  virtual void on_finish(const RequestResult& result) = 0;
};

/// Counters since the start, for metrics.
struct EngineStatistics {
  int64_t requests_finished = 0, requests_cancelled = 0, requests_failed = 0, requests_refused = 0;
  int64_t prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0, steps = 0;
  DraftCounts drafts;
  int64_t preemptions = 0;  ///< sequences that gave their pages back to others
  int64_t running = 0, waiting = 0;
  int64_t pages = 0, free_pages = 0;
};

/// Generates for many requests at once (continuous batching). submit() and cancel() may be called from any thread; the
/// arithmetic runs on the engine's own thread.
class TextEngine {
 public:
  using RequestId = uint64_t;

  virtual ~TextEngine() = default;
  /// Puts a request into the queue. Throws base::UsageError where it could never be answered (empty prompt, a prompt
  /// longer than the context, an option out of its range) and QueueFullError where the queue is full.
  virtual RequestId submit(Request request, std::shared_ptr<RequestListener> listener) = 0;
  /// Ends a request early; its listener still gets on_finish. Unknown or finished requests are left alone.
  virtual void cancel(RequestId id) = 0;
  virtual EngineStatistics statistics() const = 0;
  virtual int64_t context_length() const = 0;
  virtual int64_t vocabulary_size() const = 0;
};

/// The queue of an engine is full; the caller may try again later.
class QueueFullError : public base::Error {
 public:
  using base::Error::Error;
};

}  // namespace fledge::infer
