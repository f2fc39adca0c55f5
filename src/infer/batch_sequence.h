#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "infer/batch_scheduler.h"
#include "infer/sampler.h"

namespace fledge::infer {

/// A request in a BatchScheduler, and how far it has come.
struct BatchScheduler::Sequence {
  using Clock = std::chrono::steady_clock;

  Sequence(TextEngine::RequestId number, Request asked, std::shared_ptr<RequestListener> hears)
      : id(number),
        request(std::move(asked)),
        listener(std::move(hears)),
        sampler(request.options.sampling),
        tokens(request.prompt) {}

  TextEngine::RequestId id;
  Request request;
  std::shared_ptr<RequestListener> listener;
  Sampler sampler;
  std::vector<int32_t> tokens;  ///< the prompt and what was made
  std::vector<int32_t> pages;
  int64_t length = 0;      ///< tokens whose keys and values are in the pages
  int64_t count = 0;       ///< tokens of this step, without the guess
  int64_t remembered = 0;  ///< whole pages that the pool knows
  std::vector<int32_t> guess;
  std::vector<SampledToken> made;    ///< in this step
  std::vector<SampledToken> scored;  ///< the prompt's tokens from the second on, where asked for
  int64_t cached_tokens = 0;
  int64_t delivered = 0;  ///< tokens of the answer that the listener has
  DraftCounts drafts;
  std::string error;
  bool started = false, cancelled = false, finished = false;
  bool ends_here = false;  ///< the constraint allows nothing more
  Clock::time_point submitted = Clock::now(), begun{}, answered{};

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt_size() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t answer_size() const { return size() - prompt_size(); }
  int64_t pending() const { return size() - length; }
  bool scores_prompt() const { return request.prompt_alternatives >= 0; }
  bool is_end(int32_t token) const {
    return std::ranges::find(request.options.end_tokens, token) != request.options.end_tokens.end();
  }
  /// Draws the next token; false where the text ends with it or before it.
  bool make_token(std::span<float> logits);
  /// How it went, where it ends now.
  RequestResult result(FinishReason reason, const std::string& why_failed) const;
};

/// One row of the hidden states whose logits are needed.
struct BatchScheduler::Row {
  Sequence* sequence;
  int32_t hidden_row;
  int64_t position;  ///< of the token that the logits predict, in the sequence
};

}  // namespace fledge::infer
