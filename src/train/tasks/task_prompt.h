#pragma once

#include "train/tasks/continuation_scorer.h"
#include "train/tasks/task_runner.h"

namespace fledge::train {

/// Turns examples into tokens for one model.
class TaskPrompts {
 public:
  TaskPrompts(const TaskModel& asked, const Task& task, const TaskOptions& options)
      : asked_(asked), task_(task), options_(options) {}

  /// `text` behind the question of example `index`. Tokens are those of the whole text, cut where the question's own
  /// end; white space at the question's end belongs to the continuation.
  Continuation continuation(size_t index, const std::string& text);
  /// The question of example `index`, for an answer.
  std::vector<int32_t> question(size_t index);
  /// A whole text in windows of the model's context, each behind the token before it.
  std::vector<Continuation> windows(const std::string& text) const;

  /// Contexts that lost their beginning so far.
  int64_t cut() const { return cut_; }

 private:
  std::string shown_examples(size_t index) const;
  std::vector<size_t> drawn_shots(size_t index) const;
  std::string solution(const TaskExample& example) const;
  std::vector<int32_t> chat_question(size_t index) const;
  std::string between(std::string_view context, std::string_view text) const;
  int32_t first_token() const;
  void cut_to(std::vector<int32_t>& context, int64_t room);

  const TaskModel& asked_;
  const Task& task_;
  const TaskOptions& options_;
  int64_t cut_ = 0;
};

}  // namespace fledge::train
