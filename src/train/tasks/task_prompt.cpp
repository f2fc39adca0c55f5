#include "train/tasks/task_prompt.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::train {
namespace {

constexpr uint64_t kShotStream = 0x73686f7473;  // "shots"

bool is_space(char character) {
  return std::isspace(static_cast<unsigned char>(character)) != 0;
}

}  // namespace

std::string TaskPrompts::between(std::string_view context, std::string_view text) const {
  const bool has_space = context.empty() || is_space(context.back()) || text.empty() || is_space(text.front());
  return has_space ? "" : task_.delimiter;
}

std::string TaskPrompts::solution(const TaskExample& example) const {
  return example.choices.empty() ? example.answers.front() : example.choices[static_cast<size_t>(example.gold)];
}

std::vector<size_t> TaskPrompts::drawn_shots(size_t index) const {
  const size_t wanted = std::min(static_cast<size_t>(options_.shots), task_.examples.size() - 1);
  const base::Random random(options_.seed, kShotStream);
  std::vector<size_t> drawn;
  for (uint64_t draw = 0; drawn.size() < wanted; ++draw) {
    const auto other = static_cast<size_t>(random.below(task_.examples.size(), index * 1000003 + draw));
    if (other != index && std::ranges::find(drawn, other) == drawn.end()) drawn.push_back(other);
  }
  return drawn;
}

std::string TaskPrompts::shown_examples(size_t index) const {
  std::string text;
  for (const size_t shot : drawn_shots(index)) {
    const TaskExample& example = task_.examples[shot];
    const std::string answer = solution(example);
    text += example.context + between(example.context, answer) + answer + task_.separator;
  }
  return text;
}

int32_t TaskPrompts::first_token() const {
  if (const auto& prefix = asked_.tokenizer.parts().prefix; !prefix.empty()) return prefix.front();
  if (!asked_.end_tokens.empty()) return asked_.end_tokens.front();
  throw base::Error("{}: the model's tokenizer names no token that begins or ends a text", task_.name);
}

void TaskPrompts::cut_to(std::vector<int32_t>& context, int64_t room) {
  const auto most = static_cast<size_t>(std::max<int64_t>(1, room));
  if (context.size() <= most) return;
  context.erase(context.begin(), context.end() - static_cast<int64_t>(most));
  cut_ += 1;
}

std::vector<int32_t> TaskPrompts::chat_question(size_t index) const {
  base::OrderedJson messages = base::OrderedJson::array();
  for (const size_t shot : drawn_shots(index)) {
    messages.push_back({{"role", "user"}, {"content", task_.examples[shot].context}});
    messages.push_back({{"role", "assistant"}, {"content", solution(task_.examples[shot])}});
  }
  messages.push_back({{"role", "user"}, {"content", task_.examples[index].context}});
  nn::ChatRenderOptions options;
  options.add_generation_prompt = true;
  return asked_.chat->encode(messages, nullptr, options).ids;
}

Continuation TaskPrompts::continuation(size_t index, const std::string& text) {
  Continuation result;
  if (asked_.chat != nullptr) {
    result.context = chat_question(index);
    result.tokens = asked_.tokenizer.encode(text, {.match_special = false});
  } else {
    const std::string context = shown_examples(index) + task_.examples[index].context;
    const size_t end =
        context.find_last_not_of(" \t\n\r") == std::string::npos ? 0 : context.find_last_not_of(" \t\n\r") + 1;
    const nn::EncodeOptions encoding{.add_special = true, .match_special = false};
    // The post-processor may also end a text; the continuation must stay open.
    const auto encoded = [&](std::string_view part) {
      std::vector<int32_t> ids = asked_.tokenizer.encode(part, encoding);
      ids.resize(ids.size() - asked_.tokenizer.parts().suffix.size());
      return ids;
    };
    result.context = encoded(std::string_view(context).substr(0, end));
    const std::vector<int32_t> whole = encoded(context + between(context, text) + text);
    const auto known = std::min(result.context.size(), whole.size());
    result.tokens.assign(whole.begin() + static_cast<int64_t>(known), whole.end());
    if (result.context.empty()) result.context = {first_token()};
  }
  if (result.tokens.empty()) throw base::Error("{}: example {} has an empty continuation", task_.name, index + 1);
  const int64_t room = asked_.model.context_length() + 1 - static_cast<int64_t>(result.tokens.size());
  if (room < 1)
    throw base::Error("{}: a continuation of example {} has {} tokens, more than the model's context of {}", task_.name,
                      index + 1, result.tokens.size(), asked_.model.context_length());
  cut_to(result.context, room);
  return result;
}

std::vector<int32_t> TaskPrompts::question(size_t index) {
  std::vector<int32_t> ids;
  if (asked_.chat != nullptr) {
    ids = chat_question(index);
  } else {
    ids = asked_.tokenizer.encode(shown_examples(index) + task_.examples[index].context,
                                  {.add_special = true, .match_special = false});
    ids.resize(ids.size() - asked_.tokenizer.parts().suffix.size());
    if (ids.empty()) ids = {first_token()};
  }
  const int64_t room = asked_.model.context_length() - task_.max_tokens;
  if (room < 1)
    throw base::Error("{}: answers of {} tokens leave no room for a question in the model's context of {}", task_.name,
                      task_.max_tokens, asked_.model.context_length());
  cut_to(ids, room);
  return ids;
}

std::vector<Continuation> TaskPrompts::windows(const std::string& text) const {
  const std::vector<int32_t> ids = asked_.tokenizer.encode(text, {.match_special = false});
  const auto length = static_cast<size_t>(asked_.model.context_length());
  std::vector<Continuation> result;
  for (size_t begin = 0; begin < ids.size(); begin += length) {
    const size_t end = std::min(begin + length, ids.size());
    Continuation window;
    window.context = {begin == 0 ? first_token() : ids[begin - 1]};
    window.tokens.assign(ids.begin() + static_cast<int64_t>(begin), ids.begin() + static_cast<int64_t>(end));
    result.push_back(std::move(window));
  }
  return result;
}

}  // namespace fledge::train
