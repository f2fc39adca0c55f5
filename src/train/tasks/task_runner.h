#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "models/language_model.h"
#include "nn/text/chat_encoder.h"
#include "nn/text/tokenizer.h"
#include "train/tasks/task.h"

namespace fledge::train {

/// The model that is asked, with everything that turns text into its tokens and back.
struct TaskModel {
  models::LanguageModel& model;
  nn::Memory& memory;
  const nn::Tokenizer& tokenizer;
  const nn::ChatEncoder* chat = nullptr;  ///< not null: questions are put as a user's messages
  std::vector<int32_t> end_tokens;        ///< of a generated answer; the first begins texts without a context
  tensor::DType activation_type = tensor::DType::f32;
};

struct TaskOptions {
  int64_t limit = 0;  ///< examples asked, from the beginning; 0: all
  int64_t shots = 0;  ///< solved examples shown before each question, drawn from the others of the task
  uint64_t seed = 1234;
};

/// A measured number and the standard error of its mean.
struct TaskMetric {
  std::string name;
  double value = 0.0, standard_error = 0.0;
};

struct TaskResult {
  std::string name;
  TaskKind kind = TaskKind::choice;
  int64_t examples = 0;
  int64_t cut = 0;  ///< contexts that lost their beginning, because they did not fit the model's context
  std::vector<TaskMetric> metrics;
  std::vector<base::OrderedJson> answers;  ///< per example: what the model said and what was right
};

/// Puts a task to a model, by the conventions of lm-evaluation-harness:
///   choice        acc (the likeliest), acc_norm (by characters of the choice), acc_bytes (by its UTF-8 bytes)
///   continuation  acc (each token is the likeliest), perplexity (per example), bits_per_byte
///   generation    exact_match
///   text          word_perplexity, byte_perplexity, bits_per_byte
/// `on_progress` is called with the work done and the whole; it may throw to stop.
TaskResult run_task(const TaskModel& asked, const Task& task, const TaskOptions& options,
                    const std::function<void(int64_t done, int64_t total)>& on_progress = {});

}  // namespace fledge::train
