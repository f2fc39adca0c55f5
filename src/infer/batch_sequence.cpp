#include "infer/batch_sequence.h"

#include "infer/constraint/apply.h"

namespace fledge::infer {
namespace {

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

bool BatchScheduler::Sequence::make_token(std::span<float> logits) {
  const auto choices = static_cast<size_t>(request.options.token_count);
  if (choices > 0 && choices < logits.size()) logits = logits.first(choices);
  if (request.constraint != nullptr && !apply_constraint(logits, *request.constraint, request.options.end_tokens)) {
    ends_here = true;
    return false;
  }
  made.push_back(sampler.next(logits, static_cast<uint64_t>(answer_size()), tokens, request.prompt.size()));
  const int32_t token = made.back().token;
  if (is_end(token)) return false;
  if (request.constraint != nullptr) request.constraint->accept(token);
  tokens.push_back(token);
  return true;
}

RequestResult BatchScheduler::Sequence::result(FinishReason reason, const std::string& why_failed) const {
  RequestResult result;
  result.reason = reason;
  result.error = why_failed;
  result.prompt_tokens = prompt_size();
  result.cached_tokens = cached_tokens;
  result.answer_tokens = delivered;
  result.drafts = drafts;
  const Clock::time_point now = Clock::now(), first_read = started ? begun : now;
  const Clock::time_point first_made = delivered > 0 ? answered : now;
  result.queue_seconds = seconds_between(submitted, first_read);
  result.prompt_seconds = seconds_between(first_read, first_made);
  result.answer_seconds = seconds_between(first_made, now);
  return result;
}

}  // namespace fledge::infer
