#include "train/tasks/task.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"

namespace fledge::train {
namespace {

using base::Error;
using base::Json;

constexpr std::array kContextKeys = {"context", "question", "query", "prompt", "ctx", "input", "goal", "sentence"};
constexpr std::array kChoiceKeys = {"choices", "options", "endings"};
constexpr std::array kGoldKeys = {"gold", "label", "answer", "answerKey", "correct"};
constexpr std::array kContinuationKeys = {"continuation", "target", "completion"};
constexpr std::array kAnswerKeys = {"answers", "answer", "output"};

/// The first of the keys that the line has and that is not null.
const Json* first_of(const Json& line, std::span<const char* const> keys) {
  for (const char* key : keys) {
    const auto found = line.find(key);
    if (found != line.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

std::string listing(std::span<const char* const> keys) {
  std::string text;
  for (const char* key : keys) text += (text.empty() ? "" : ", ") + std::string(key);
  return text;
}

std::string text_of(const Json& value, std::string_view what, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  throw Error("{}: {} is {}, expected a text", where, what, base::printable(value.dump().substr(0, 40)));
}

std::vector<std::string> texts_of(const Json& value, std::string_view what, const std::string& where) {
  std::vector<std::string> texts;
  if (!value.is_array()) return {text_of(value, what, where)};
  for (const Json& item : value) texts.push_back(text_of(item, what, where));
  return texts;
}

/// The choices of a line with the labels that ARC gives them (elsewhere A, B, C, ...).
struct Choices {
  std::vector<std::string> texts, labels;
};

std::optional<Choices> choices_of(const Json& line, const std::string& where) {
  Choices choices;
  const Json* list = first_of(line, kChoiceKeys);
  if (list == nullptr && line.contains("question") && line["question"].is_object())
    list = first_of(line["question"], kChoiceKeys);
  if (list == nullptr) {
    if (!line.contains("sol1") || !line.contains("sol2")) return std::nullopt;
    choices.texts = {text_of(line["sol1"], "sol1", where), text_of(line["sol2"], "sol2", where)};
  } else if (list->is_object()) {
    if (!list->contains("text")) throw Error("{}: the choices are an object without \"text\"", where);
    choices.texts = texts_of((*list)["text"], "a choice", where);
    if (list->contains("label")) choices.labels = texts_of((*list)["label"], "a choice's label", where);
  } else {
    choices.texts = texts_of(*list, "a choice", where);
  }
  if (choices.texts.size() < 2) throw Error("{}: {} choices, expected two at least", where, choices.texts.size());
  for (size_t index = choices.labels.size(); index < choices.texts.size(); ++index) {
    choices.labels.push_back(index < 26 ? std::string(1, static_cast<char>('A' + index)) : std::to_string(index));
  }
  return choices;
}

int64_t gold_of(const Json& line, const Choices& choices, const std::string& where) {
  const Json* gold = first_of(line, kGoldKeys);
  if (gold == nullptr) throw Error("{}: the right choice is missing (one of {})", where, listing(kGoldKeys));
  const auto count = static_cast<int64_t>(choices.texts.size());
  if (gold->is_number_integer()) {
    const auto number = gold->get<int64_t>();
    if (number < 0 || number >= count)
      throw Error("{}: the right choice is {}, expected 0 to {}", where, number, count - 1);
    return number;
  }
  const std::string text = text_of(*gold, "the right choice", where);
  for (const std::vector<std::string>* names : {&choices.labels, &choices.texts}) {
    const auto found = std::ranges::find(*names, text);
    if (found != names->end() && found - names->begin() < count) return found - names->begin();
  }
  if (!text.empty() && text.size() < 4 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    const int64_t number = std::stoll(text);
    if (number < count) return number;
  }
  throw Error("{}: the right choice, \"{}\", is none of the {} choices", where, base::printable(text), count);
}

/// "Question: {question}\nAnswer:" with the line's values in the braces.
std::string fill(const std::string& text, const Json& line, const std::string& where) {
  std::string filled;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find('{', at), close = open == std::string::npos ? open : text.find('}', open);
    if (close == std::string::npos) return filled + text.substr(at);
    filled += text.substr(at, open - at);
    const std::string key = text.substr(open + 1, close - open - 1);
    const auto found = line.find(key);
    if (found == line.end()) throw Error("{}: has no \"{}\", which the task's template asks for", where, key);
    filled += text_of(*found, key, where);
    at = close + 1;
  }
  return filled;
}

std::string context_of(const Json& line, const std::string& frame, const std::string& where) {
  if (!frame.empty()) return fill(frame, line, where);
  const Json* context = first_of(line, kContextKeys);
  if (context != nullptr && context->is_object() && context->contains("stem")) context = &(*context)["stem"];
  if (context == nullptr) throw Error("{}: the context is missing (one of {})", where, listing(kContextKeys));
  return text_of(*context, "the context", where);
}

TaskKind read_example(const Json& line, const std::string& frame, const std::string& where, TaskExample& example) {
  if (const std::optional<Choices> choices = choices_of(line, where)) {
    example.context = context_of(line, frame, where);
    example.choices = choices->texts;
    example.gold = gold_of(line, *choices, where);
    return TaskKind::choice;
  }
  if (const Json* target = first_of(line, kContinuationKeys)) {
    example.context = context_of(line, frame, where);
    example.answers = {text_of(*target, "the continuation", where)};
    return TaskKind::continuation;
  }
  if (const Json* answers = first_of(line, kAnswerKeys)) {
    example.context = context_of(line, frame, where);
    example.answers = texts_of(*answers, "an answer", where);
    if (example.answers.empty()) throw Error("{}: the list of answers is empty", where);
    return TaskKind::generation;
  }
  if (line.contains("text")) {
    example.answers = {text_of(line["text"], "the text", where)};
    return TaskKind::text;
  }
  throw Error("{}: neither choices ({}), nor a target ({}), nor an answer ({}), nor a text", where,
              listing(kChoiceKeys), listing(kContinuationKeys), listing(kAnswerKeys));
}

/// Takes the settings of the first line; returns the template.
std::string read_settings(const Json& settings, Task& task, const std::string& where) {
  constexpr std::array kKnown = {"name",    "template",   "delimiter",   "separator",         "until",
                                 "extract", "max_tokens", "ignore_case", "ignore_punctuation"};
  if (!settings.is_object()) throw Error("{}: \"task\" is no object", where);
  for (const auto& [key, value] : settings.items()) {
    if (std::ranges::find(kKnown, key) != kKnown.end()) continue;
    const std::string near = base::nearest(key, kKnown);
    throw Error("{}: unknown setting \"{}\" of the task{}", where, base::printable(key),
                near.empty() ? "" : "; did you mean " + near + "?");
  }
  task.name = base::json_get<std::string>(settings, "name", task.name, where);
  task.delimiter = base::json_get<std::string>(settings, "delimiter", task.delimiter, where);
  task.separator = base::json_get<std::string>(settings, "separator", task.separator, where);
  task.extract = base::json_get<std::string>(settings, "extract", "", where);
  task.max_tokens = base::json_get<int64_t>(settings, "max_tokens", task.max_tokens, where);
  if (task.max_tokens < 1) throw Error("{}: max_tokens is {}, expected 1 or more", where, task.max_tokens);
  task.ignore_case = base::json_get<bool>(settings, "ignore_case", false, where);
  task.ignore_punctuation = base::json_get<bool>(settings, "ignore_punctuation", false, where);
  if (settings.contains("until")) task.until = texts_of(settings["until"], "until", where);
  if (std::ranges::find(task.until, "") != task.until.end()) throw Error("{}: a text of \"until\" is empty", where);
  return base::json_get<std::string>(settings, "template", "", where);
}

}  // namespace

std::string_view name_of(TaskKind kind) {
  constexpr std::array<std::string_view, 4> kNames = {"choice", "continuation", "generation", "text"};
  return kNames[static_cast<size_t>(kind)];
}

Task parse_task(std::string_view text, const std::string& origin) {
  Task task;
  task.name = std::filesystem::path(origin).stem().string();
  std::string frame;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view content = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (content.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", origin, number);
    const Json line = base::parse_json(content, where);
    if (!line.is_object()) throw Error("{}: holds no JSON object", where);
    if (number == 1 && line.contains("task")) {
      frame = read_settings(line["task"], task, where);
      continue;
    }
    TaskExample example;
    const TaskKind kind = read_example(line, frame, where, example);
    if (task.examples.empty()) task.kind = kind;
    if (kind != task.kind)
      throw Error("{}: is an example of the kind {}, and those before it {}", where, name_of(kind), name_of(task.kind));
    task.examples.push_back(std::move(example));
  }
  if (task.examples.empty()) throw Error("{}: holds no examples", origin);
  return task;
}

Task read_task(const std::filesystem::path& path) {
  const base::MappedFile file(path);
  return parse_task(file.text(), path.string());
}

}  // namespace fledge::train
