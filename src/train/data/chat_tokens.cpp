#include "train/data/chat_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "train/data/chat_messages.h"

namespace fledge::train {
namespace {

using base::OrderedJson;

/// Whether a statement {% generation %} stands in the template.
bool finds_marks(std::string_view source) {
  for (size_t place = source.find("{%"); place != std::string_view::npos; place = source.find("{%", place + 2)) {
    size_t word = place + 2;
    while (word < source.size() && std::string_view("-+ \t\r\n").find(source[word]) != std::string_view::npos) ++word;
    if (source.substr(word).starts_with("generation")) return true;
  }
  return false;
}

/// A few characters of `text` around `place`, for a message.
std::string around(std::string_view text, size_t place) {
  constexpr size_t kBefore = 20, kBehind = 30;
  const size_t begin = place > kBefore ? place - kBefore : 0;
  std::string shown = base::printable(text.substr(begin, std::min(text.size(), place + kBehind) - begin));
  for (size_t newline = shown.find('\n'); newline != std::string::npos; newline = shown.find('\n')) {
    shown.replace(newline, 1, "\\n");
  }
  return shown;
}

void require_beginning(std::string_view beginning, std::string_view whole, size_t message, std::string_view what) {
  if (whole.starts_with(beginning)) return;
  const auto place = static_cast<size_t>(std::ranges::mismatch(beginning, whole).in1 - beginning.begin());
  throw AmbiguousTurns(
      "the trained tokens of message {} cannot be told: {} ends \"{}\", and the whole conversation has \"{}\" there; "
      "use "
      "chat.train_on = \"last\", or a chat template with {{% generation %}} around the assistant's words",
      message + 1, what, around(beginning, place), around(whole, place));
}

OrderedJson first_messages(const OrderedJson& messages, size_t count) {
  OrderedJson result = OrderedJson::array();
  for (size_t index = 0; index < count; ++index) result.push_back(messages[index]);
  return result;
}

}  // namespace

int64_t ChatTokens::trained_count() const {
  int64_t count = 0;
  for (const TokenSpan& span : trained) count += span.end - span.begin;
  return count;
}

ChatTokenizer::ChatTokenizer(std::shared_ptr<const nn::Tokenizer> tokenizer,
                             std::shared_ptr<const nn::ChatTemplate> chat_template, TrainedTurns turns)
    : tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      encoder_(*template_, *tokenizer_),
      turns_(turns),
      has_marks_(finds_marks(template_->source())) {}

std::string ChatTokenizer::rendered_beginning(const OrderedJson& messages, size_t count, const OrderedJson& tools,
                                              bool add_generation_prompt) const {
  nn::ChatRenderOptions options;
  options.add_generation_prompt = add_generation_prompt;
  return template_->render(first_messages(messages, count), tools, options).text;
}

/// `turns` are the messages that are trained. The template marks all of the assistant's.
std::vector<ChatTokenizer::KeySpan> ChatTokenizer::spans_by_marks(const nn::jinja::Rendered& whole,
                                                                  const std::vector<size_t>& turns,
                                                                  const OrderedJson& messages) const {
  std::vector<size_t> answers;
  for (size_t index = 0; index < messages.size(); ++index) {
    if (messages[index]["role"] == "assistant") answers.push_back(index);
  }
  std::vector<KeySpan> spans;
  if (answers.size() != whole.generation.size()) {
    throw AmbiguousTurns("the chat template marks {} passages as generated, and the conversation has {} answers",
                         whole.generation.size(), answers.size());
  }
  for (size_t index = 0; index < answers.size(); ++index) {
    if (std::ranges::find(turns, answers[index]) == turns.end()) continue;
    spans.push_back({whole.generation[index].begin, whole.generation[index].end, true});
  }
  return spans;
}

std::vector<ChatTokenizer::KeySpan> ChatTokenizer::spans_by_difference(const std::string& whole,
                                                                       const std::vector<size_t>& turns,
                                                                       const OrderedJson& messages,
                                                                       const OrderedJson& tools) const {
  std::vector<KeySpan> spans;
  for (const size_t turn : turns) {
    const std::string before = rendered_beginning(messages, turn, tools, true);
    require_beginning(before, whole, turn, "the conversation before it");
    size_t end = whole.size();
    if (turn + 1 < messages.size()) {
      const std::string with = rendered_beginning(messages, turn + 1, tools, false);
      require_beginning(with, whole, turn, "the conversation up to it");
      end = with.size();
    }
    if (end <= before.size()) {
      throw AmbiguousTurns("the chat template writes nothing for message {} behind the generation prompt", turn + 1);
    }
    spans.push_back({before.size(), end, false});
  }
  return spans;
}

/// A turn's glue behind its last special token (a newline, usually) is the template's and not the model's.
void ChatTokenizer::add_span(const KeySpan& span, size_t begin, size_t end, ChatTokens& tokens) const {
  size_t last = end;
  while (last > begin && !tokenizer_->is_special(tokens.ids[last - 1])) --last;
  if (last == begin) {
    tokens.has_open_end = true;
  } else {
    const std::string behind = tokenizer_->decode(std::span(tokens.ids).subspan(last, end - last));
    const bool is_glue = behind.find_first_not_of(" \t\r\n") == std::string::npos;
    if (!is_glue) tokens.has_open_end = true;
    if (is_glue && !span.is_marked) end = last;
  }
  if (begin < end) tokens.trained.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
}

ChatTokens ChatTokenizer::tokenize(const Conversation& conversation) const {
  const OrderedJson& given = conversation.messages;
  std::vector<size_t> turns;
  for (size_t index = conversation.first_trained; index < given.size(); ++index) {
    if (is_learned(given[index])) turns.push_back(index);
  }
  if (turns.empty()) throw base::Error("there is no assistant's message to learn");
  if (turns_ == TrainedTurns::last) turns.erase(turns.begin(), turns.end() - 1);
  // What comes behind the last turn that is trained is of no use.
  const OrderedJson messages = encoder_.guarded_messages(first_messages(given, turns.back() + 1));

  const nn::jinja::Rendered whole = template_->render(messages, conversation.tools, {});
  const std::vector<KeySpan> spans = has_marks_ ? spans_by_marks(whole, turns, messages)
                                                : spans_by_difference(whole.text, turns, messages, conversation.tools);
  std::vector<size_t> borders, places;
  for (const KeySpan& span : spans) {
    borders.push_back(span.begin);
    borders.push_back(span.end);
  }
  ChatTokens tokens;
  tokens.ids = encoder_.encode_with_borders(whole.text, borders, places);
  for (size_t index = 0; index < spans.size(); ++index) {
    add_span(spans[index], places[2 * index], places[2 * index + 1], tokens);
  }
  // The tokens behind the last trained one have no use either.
  if (!tokens.trained.empty()) tokens.ids.resize(static_cast<size_t>(tokens.trained.back().end));
  return tokens;
}

}  // namespace fledge::train
