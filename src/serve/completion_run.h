#pragma once

#include "serve/text_run.h"

namespace fledge::serve {

/// POST /v1/completions under way.
class CompletionRun : public TextRun {
 public:
  /// `prompts`: the tokens of each prompt; answer i continues prompt i / n.
  CompletionRun(const ServedModel& model, std::shared_ptr<HttpReply> reply, EventThread& events, Metrics& metrics,
                CompletionRequest request, std::vector<std::vector<int32_t>> prompts);

 protected:
  void on_begin() override;
  void on_prompt(size_t answer, const std::vector<infer::SampledToken>& tokens) override;
  void on_piece(size_t answer, Piece piece) override;
  void on_answer_end(size_t answer) override;
  base::OrderedJson response() override;
  base::OrderedJson envelope(base::OrderedJson choices) const override;

 private:
  struct Text {
    CompletionLogProbabilities log_probabilities;
    std::string text;
    std::vector<infer::SampledToken> tokens;
    bool prompt_told = false;
  };
  base::OrderedJson choice(size_t answer, const std::string& text, const std::vector<infer::SampledToken>& tokens,
                           const char* finish_reason);
  void tell_prompt(size_t answer);

  const CompletionRequest request_;
  const std::vector<std::vector<int32_t>> prompts_;
  std::vector<Text> texts_;
};

/// Tokens of a prompt; throws ApiError where it holds ids that are no tokens.
std::vector<int32_t> tokens_of(const ServedModel& model, const Prompt& prompt);

std::vector<infer::Request> completion_engine_requests(const ServedModel& model, const CompletionRequest& request,
                                                       const std::vector<std::vector<int32_t>>& prompts);

}  // namespace fledge::serve
