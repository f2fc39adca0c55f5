#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::train {

/// What a model does with the examples of a task.
enum class TaskKind : uint8_t {
  choice,        ///< says which of several continuations is likeliest
  continuation,  ///< is asked for the likelihood of one continuation
  generation,    ///< writes an answer, which is compared with the right ones
  text,          ///< is asked for the likelihood of a whole text
};
std::string_view name_of(TaskKind kind);

/// One example. A continuation's text goes behind the context with the task's delimiter between them.
struct TaskExample {
  std::string context;               ///< empty for whole texts
  std::vector<std::string> choices;  ///< of a choice
  int64_t gold = 0;                  ///< of the choices
  std::vector<std::string> answers;  ///< right answers of a generation; the one continuation; the text
};

/// Examples with how they are put to a model.
struct Task {
  std::string name;
  TaskKind kind = TaskKind::choice;
  std::vector<TaskExample> examples;
  std::string delimiter = " ";     ///< between context and continuation, where neither has white space there
  std::string separator = "\n\n";  ///< between examples that are shown before the question
  std::vector<std::string> until;  ///< texts that end a generated answer
  int64_t max_tokens = 128;        ///< of a generated answer
  std::string extract;             ///< regular expression whose last match is the answer; empty: all of it
  bool ignore_case = false, ignore_punctuation = false;
};

/// Reads a task from JSON lines. Keys of a line, as the common data sets call them:
///   the context    context, question, query, prompt, ctx, input, goal, sentence
///   the choices    choices, options, endings (a list; or ARC's {"text": [...], "label": [...]}), or sol1 and sol2
///   the right one  gold, label, answer, answerKey, correct: its number from 0, its letter or label, or its text
///   one target     continuation, target, completion (scored), or answer, answers, output (generated)
///   a text         text (scored whole)
/// All examples are of one kind. The first line may instead be {"task": {...}} with name, template ("Question:
/// {question}\nAnswer:", filled from the keys of each line), delimiter, separator, until, max_tokens, extract,
/// ignore_case, ignore_punctuation. Throws Error with file and line, naming what is missing or wrong.
Task read_task(const std::filesystem::path& path);

/// The same from the content of a file; `origin` names it.
Task parse_task(std::string_view text, const std::string& origin);

}  // namespace fledge::train
