#include "cli/chat_view.h"
#include "base/json.h"
#include "cli/drafting.h"
#include "nn/text/tokenizer_parts.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

namespace fledge::cli {
namespace {

using base::Style;

Style style_of(double probability) {
  if (probability >= 0.5) return Style::green;
  return probability >= 0.1 ? Style::yellow : Style::red;
}

std::string percent(double probability) {
  return fmt::format("{:5.1f}%", 100 * probability);
}

void append_tokens(std::string& view, std::span<const int32_t> tokens, const nn::Tokenizer& tokenizer,
                   const base::Terminal& terminal) {
  size_t column = 0;
  const auto width = static_cast<size_t>(std::max(terminal.width, 20));
  for (size_t index = 0; index < tokens.size(); ++index) {
    const std::string text = quoted_token(tokenizer, tokens[index]), number = std::to_string(tokens[index]);
    const size_t columns = base::display_width(text) + number.size() + 3;
    if (column > 0 && column + columns > width) {
      view += '\n';
      column = 0;
    }
    view += "  " + base::styled(text, index % 2 == 0 ? Style::cyan : Style::blue, terminal) + " " +
            base::styled(number, Style::dim, terminal);
    column += columns;
  }
  view += '\n';
}

}  // namespace

std::string quoted_token(const nn::Tokenizer& tokenizer, int32_t token) {
  std::string text(tokenizer.token_bytes(token));
  if (tokenizer.parts().decoding) {
    constexpr std::string_view kSpaceMark = "\u2581";
    for (size_t at = text.find(kSpaceMark); at != std::string::npos; at = text.find(kSpaceMark, at + 1))
      text.replace(at, kSpaceMark.size(), " ");
  }
  return base::printable(base::Json(text).dump(-1, ' ', false, base::Json::error_handler_t::replace));
}

std::string probabilities_view(const Answer& answer, const nn::Tokenizer& tokenizer, const base::Terminal& terminal) {
  std::string view;
  for (const infer::SampledToken& token : answer.tokens) {
    const double probability = std::exp(token.log_probability);
    const Style style = style_of(probability);
    std::string line = base::styled(percent(probability), style, terminal) + "  " +
                       base::styled(fmt::format("{:<16}", quoted_token(tokenizer, token.token)), style, terminal);
    std::string others;
    for (const infer::TokenProbability& other : token.alternatives) {
      if (other.token == token.token) continue;
      others += fmt::format("  {} {}", quoted_token(tokenizer, other.token),
                            base::styled(percent(std::exp(other.log_probability)), Style::dim, terminal));
    }
    line += others;
    view += base::fit_width(line, static_cast<size_t>(std::max(terminal.width - 1, 20)));
    view += terminal.color ? "\033[0m\n" : "\n";
  }
  return view;
}

std::string tokens_view(const Answer& answer, const nn::Tokenizer& tokenizer, const base::Terminal& terminal) {
  const auto prompt = static_cast<int64_t>(answer.prompt.size());
  std::string view = fmt::format("prompt: {} tokens, {} of them kept from before; new in this turn: {}\n", prompt,
                                 answer.cached_tokens, prompt - answer.new_from);
  append_tokens(view, std::span(answer.prompt).subspan(static_cast<size_t>(answer.new_from)), tokenizer, terminal);
  view += fmt::format("answer: {} tokens{}\n", answer.tokens.size(),
                      answer.drafts.guessed > 0 ? "; " + describe(answer.drafts) : "");
  std::vector<int32_t> ids;
  for (const infer::SampledToken& token : answer.tokens) ids.push_back(token.token);
  append_tokens(view, ids, tokenizer, terminal);
  return view;
}

std::string end_note(const Answer& answer, const ChatSession& session) {
  switch (answer.end) {
    case AnswerEnd::length:
      return fmt::format("stopped after {} tokens: max-tokens allows no more", answer.tokens.size());
    case AnswerEnd::context:
      return fmt::format("stopped: the model's context of {} tokens is full", session.context_length());
    case AnswerEnd::interrupted:
      return answer.text.empty() ? "stopped before the first word; the message was taken back"
                                 : "stopped; what was said is kept";
    case AnswerEnd::end_token:
    case AnswerEnd::stop_text:
      break;
  }
  return "";
}

}  // namespace fledge::cli
