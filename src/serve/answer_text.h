#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "infer/sampler.h"
#include "infer/stop.h"
#include "nn/text/tokenizer.h"

namespace fledge::serve {

/// What became certain of an answer: text, and the tokens made since the last piece.
struct Piece {
  std::string text;
  std::vector<infer::SampledToken> tokens;
  bool empty() const { return text.empty() && tokens.empty(); }
};

/// Turns the tokens of one answer into text that can be shown.
class AnswerText {
 public:
  /// `keep_special`: special tokens are text too (those that open a tool call). Keeps a reference to the tokenizer.
  AnswerText(const nn::Tokenizer& tokenizer, const std::vector<std::string>& stop, bool keep_special)
      : decoder_(tokenizer, !keep_special), filter_(stop) {}

  /// The piece that became certain with this token; empty where its text waits for more.
  Piece push(const infer::SampledToken& token);
  /// What was held back.
  Piece finish();
  /// A stop string was found; tokens that follow are not part of the answer.
  bool stopped() const { return filter_.found().has_value(); }

 private:
  nn::StreamDecoder decoder_;
  infer::StopFilter filter_;
  std::vector<infer::SampledToken> waiting_;
};

/// Log-probabilities in the form of chat completions: {"content": [...], "refusal": null}.
base::OrderedJson chat_log_probabilities(const nn::Tokenizer& tokenizer,
                                         const std::vector<infer::SampledToken>& tokens);

/// Log-probabilities in the form of completions, gathered over a text.
class CompletionLogProbabilities {
 public:
  CompletionLogProbabilities(const nn::Tokenizer& tokenizer, int64_t alternatives);
  /// A token that has no probability: the first one of a prompt.
  void add_first(int32_t token);
  void add(const infer::SampledToken& token);
  /// What was added since the last call; offsets go on.
  base::OrderedJson take();

 private:
  void add_text(int32_t token);
  void clear();
  const nn::Tokenizer& tokenizer_;
  int64_t alternatives_;
  int64_t offset_ = 0;
  base::OrderedJson tokens_, log_probabilities_, top_, offsets_;
};

/// Tokens in fledge's own form: [{"id", "text", "bytes", "logprob", "top": [...]}]; special ones also have "special".
base::OrderedJson token_reports(const nn::Tokenizer& tokenizer, const std::vector<infer::SampledToken>& tokens);

/// Bytes as a list of numbers.
base::OrderedJson byte_list(std::string_view bytes);

}  // namespace fledge::serve
