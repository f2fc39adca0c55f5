#include "serve/answer_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace fledge::serve {
namespace {

/// JSON has no minus infinity; this is what OpenAI answers with instead.
double finite(double log_probability) {
  return std::max(log_probability, -9999.0);
}

bool is_utf8(std::string_view bytes) {
  infer::StopFilter filter({});
  std::string text = filter.push(bytes);
  text += filter.finish();
  return text == bytes;
}

/// A token's text in completions: bytes that are no text by themselves are spelled out, as OpenAI does.
std::string completion_token(std::string_view bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  std::string text = "bytes:";
  for (const char byte : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return text;
}

base::OrderedJson chat_token(const nn::Tokenizer& tokenizer, int32_t token, double log_probability) {
  const std::string_view bytes = tokenizer.token_bytes(token);
  return {{"token", bytes}, {"logprob", finite(log_probability)}, {"bytes", byte_list(bytes)}};
}

base::OrderedJson own_token(const nn::Tokenizer& tokenizer, int32_t token, double log_probability) {
  const std::string_view bytes = tokenizer.token_bytes(token);
  base::OrderedJson told{
      {"id", token}, {"text", bytes}, {"bytes", byte_list(bytes)}, {"logprob", finite(log_probability)}};
  if (tokenizer.is_special(token)) told["special"] = true;
  return told;
}

}  // namespace

Piece AnswerText::push(const infer::SampledToken& token) {
  if (stopped()) return {};
  waiting_.push_back(token);
  std::string text = filter_.push(decoder_.push(token.token));
  // The tokens of a stop string are not part of the answer.
  if (stopped()) return {std::move(text), {}};
  if (text.empty()) return {};
  return {std::move(text), std::exchange(waiting_, {})};
}

Piece AnswerText::finish() {
  std::string text = filter_.push(decoder_.finish());
  text += filter_.finish();
  if (stopped()) return {std::move(text), {}};
  return {std::move(text), std::exchange(waiting_, {})};
}

base::OrderedJson byte_list(std::string_view bytes) {
  base::OrderedJson list = base::OrderedJson::array();
  for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return list;
}

base::OrderedJson chat_log_probabilities(const nn::Tokenizer& tokenizer,
                                         const std::vector<infer::SampledToken>& tokens) {
  base::OrderedJson content = base::OrderedJson::array();
  for (const infer::SampledToken& token : tokens) {
    base::OrderedJson entry = chat_token(tokenizer, token.token, token.log_probability);
    base::OrderedJson top = base::OrderedJson::array();
    for (const infer::TokenProbability& other : token.alternatives) {
      top.push_back(chat_token(tokenizer, other.token, other.log_probability));
    }
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

base::OrderedJson token_reports(const nn::Tokenizer& tokenizer, const std::vector<infer::SampledToken>& tokens) {
  base::OrderedJson list = base::OrderedJson::array();
  for (const infer::SampledToken& token : tokens) {
    base::OrderedJson entry = own_token(tokenizer, token.token, token.log_probability);
    base::OrderedJson top = base::OrderedJson::array();
    for (const infer::TokenProbability& other : token.alternatives) {
      top.push_back(own_token(tokenizer, other.token, other.log_probability));
    }
    entry["top"] = std::move(top);
    list.push_back(std::move(entry));
  }
  return list;
}

CompletionLogProbabilities::CompletionLogProbabilities(const nn::Tokenizer& tokenizer, int64_t alternatives)
    : tokenizer_(tokenizer), alternatives_(alternatives) {
  clear();
}

void CompletionLogProbabilities::clear() {
  tokens_ = log_probabilities_ = top_ = offsets_ = base::OrderedJson::array();
}

void CompletionLogProbabilities::add_text(int32_t token) {
  const std::string_view bytes = tokenizer_.token_bytes(token);
  tokens_.push_back(completion_token(bytes));
  offsets_.push_back(offset_);
  // Offsets count characters.
  offset_ += std::ranges::count_if(bytes, [](char byte) { return (byte & 0xc0) != 0x80; });
}

void CompletionLogProbabilities::add_first(int32_t token) {
  add_text(token);
  log_probabilities_.push_back(nullptr);
  top_.push_back(nullptr);
}

void CompletionLogProbabilities::add(const infer::SampledToken& token) {
  add_text(token.token);
  log_probabilities_.push_back(finite(token.log_probability));
  base::OrderedJson alternatives = base::OrderedJson::object();
  for (const infer::TokenProbability& other : token.alternatives) {
    alternatives[completion_token(tokenizer_.token_bytes(other.token))] = finite(other.log_probability);
  }
  top_.push_back(std::move(alternatives));
}

base::OrderedJson CompletionLogProbabilities::take() {
  base::OrderedJson result{{"tokens", std::move(tokens_)},
                           {"token_logprobs", std::move(log_probabilities_)},
                           {"top_logprobs", alternatives_ > 0 ? std::move(top_) : base::OrderedJson()},
                           {"text_offset", std::move(offsets_)}};
  clear();
  return result;
}

}  // namespace fledge::serve
