#include "train/tasks/task_runner.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "nn/text/regex.h"
#include "nn/text/utf8.h"
#include "train/tasks/batch_answers.h"
#include "train/tasks/task_prompt.h"

namespace fledge::train {
namespace {

using Progress = std::function<void(int64_t, int64_t)>;

/// Values of one metric over the examples.
struct Column {
  std::string name;
  std::vector<double> values;

  TaskMetric metric() const {
    const auto count = static_cast<double>(values.size());
    double sum = 0.0, squares = 0.0;
    for (const double value : values) sum += value;
    const double mean = sum / count;
    for (const double value : values) squares += (value - mean) * (value - mean);
    const double error = values.size() > 1 ? std::sqrt(squares / (count - 1.0) / count) : 0.0;
    return {name, mean, error};
  }
};

size_t count_of(const Task& task, const TaskOptions& options) {
  const size_t all = task.examples.size();
  return options.limit > 0 ? std::min(all, static_cast<size_t>(options.limit)) : all;
}

std::vector<ContinuationScore> scores_of(const TaskModel& asked, const std::vector<Continuation>& continuations,
                                         const Progress& on_progress) {
  return score_continuations(asked.model, asked.memory, continuations, asked.activation_type, on_progress);
}

size_t best_of(const std::vector<double>& values) {
  return static_cast<size_t>(std::ranges::max_element(values) - values.begin());
}

void run_choices(const TaskModel& asked, const Task& task, size_t count, TaskPrompts& prompts, TaskResult& result,
                 const Progress& on_progress) {
  std::vector<Continuation> continuations;
  for (size_t index = 0; index < count; ++index) {
    for (const std::string& choice : task.examples[index].choices)
      continuations.push_back(prompts.continuation(index, choice));
  }
  const std::vector<ContinuationScore> scores = scores_of(asked, continuations, on_progress);
  Column acc{"acc", {}}, acc_norm{"acc_norm", {}}, acc_bytes{"acc_bytes", {}};
  size_t next = 0;
  for (size_t index = 0; index < count; ++index) {
    const TaskExample& example = task.examples[index];
    std::vector<double> sums, by_characters, by_bytes;
    for (const std::string& choice : example.choices) {
      const double sum = scores[next++].log_likelihood;
      sums.push_back(sum);
      by_characters.push_back(sum / static_cast<double>(std::max<size_t>(1, nn::count_characters(choice))));
      by_bytes.push_back(sum / static_cast<double>(std::max<size_t>(1, choice.size())));
    }
    const auto gold = static_cast<size_t>(example.gold);
    acc.values.push_back(best_of(sums) == gold);
    acc_norm.values.push_back(best_of(by_characters) == gold);
    acc_bytes.values.push_back(best_of(by_bytes) == gold);
    result.answers.push_back({{"context", example.context},
                              {"chosen", example.choices[best_of(sums)]},
                              {"right", example.choices[gold]},
                              {"log_likelihoods", sums}});
  }
  for (const Column* column : {&acc, &acc_norm, &acc_bytes}) result.metrics.push_back(column->metric());
}

void run_continuations(const TaskModel& asked, const Task& task, size_t count, TaskPrompts& prompts, TaskResult& result,
                       const Progress& on_progress) {
  std::vector<Continuation> continuations;
  for (size_t index = 0; index < count; ++index)
    continuations.push_back(prompts.continuation(index, task.examples[index].answers.front()));
  const std::vector<ContinuationScore> scores = scores_of(asked, continuations, on_progress);
  Column acc{"acc", {}}, nats{"nats", {}};
  double total = 0.0, bytes = 0.0;
  for (size_t index = 0; index < count; ++index) {
    const TaskExample& example = task.examples[index];
    acc.values.push_back(scores[index].greedy);
    nats.values.push_back(-scores[index].log_likelihood);
    total -= scores[index].log_likelihood;
    bytes += static_cast<double>(example.answers.front().size());
    result.answers.push_back({{"context", example.context},
                              {"right", example.answers.front()},
                              {"log_likelihood", scores[index].log_likelihood},
                              {"greedy", scores[index].greedy}});
  }
  result.metrics.push_back(acc.metric());
  const TaskMetric mean = nats.metric();
  result.metrics.push_back({"perplexity", std::exp(mean.value), std::exp(mean.value) * mean.standard_error});
  result.metrics.push_back({"bits_per_byte", total / std::log(2.0) / std::max(1.0, bytes), 0.0});
}

/// What of an answer is compared: the last match of the task's expression, without the white space around it.
std::string compared(const Task& task, const std::string& text, const nn::Regex* extract) {
  std::string chosen = text;
  if (extract != nullptr) {
    chosen.clear();
    for (size_t at = 0, begin = 0, end = 0; at < text.size() && extract->find(text, at, begin, end); at = end)
      chosen = text.substr(begin, end - begin);
  }
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!chosen.empty() && is_space(chosen.back())) chosen.pop_back();
  chosen.erase(chosen.begin(), std::ranges::find_if_not(chosen, is_space));
  if (task.ignore_punctuation)
    std::erase_if(chosen, [](char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; });
  if (task.ignore_case) {
    for (char& c : chosen) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return chosen;
}

void run_generation(const TaskModel& asked, const Task& task, size_t count, TaskPrompts& prompts, TaskResult& result,
                    const Progress& on_progress) {
  const std::optional<nn::Regex> extract =
      task.extract.empty() ? std::nullopt : std::optional<nn::Regex>(std::in_place, task.extract, task.name);
  const nn::Regex* expression = extract ? &*extract : nullptr;
  std::vector<AnswerRequest> requests;
  for (size_t index = 0; index < count; ++index) {
    AnswerRequest request;
    request.prompt = prompts.question(index);
    request.options.sampling.temperature = 0.0;
    request.options.max_tokens = task.max_tokens;
    request.options.token_count = asked.tokenizer.vocabulary_size();
    request.options.end_tokens = asked.end_tokens;
    request.until = task.until;
    requests.push_back(std::move(request));
  }
  const std::vector<Answer> answers =
      answer_all(asked.model, asked.memory, asked.tokenizer, requests, asked.activation_type, on_progress);
  Column exact{"exact_match", {}}, ended{"ended", {}};
  for (size_t index = 0; index < count; ++index) {
    const TaskExample& example = task.examples[index];
    const std::string said = compared(task, answers[index].text, expression);
    const bool right = std::ranges::any_of(example.answers, [&](const std::string& answer) {
      // A right answer may itself hold more than what is compared ("... #### 42").
      const std::string wanted = compared(task, answer, expression);
      return said == (wanted.empty() ? compared(task, answer, nullptr) : wanted);
    });
    exact.values.push_back(right);
    ended.values.push_back(answers[index].ended);
    result.answers.push_back({{"context", example.context},
                              {"said", answers[index].text},
                              {"compared", said},
                              {"right", example.answers},
                              {"matches", right}});
  }
  result.metrics.push_back(exact.metric());
  result.metrics.push_back(ended.metric());
}

void run_texts(const TaskModel& asked, const Task& task, size_t count, TaskPrompts& prompts, TaskResult& result,
               const Progress& on_progress) {
  std::vector<Continuation> windows;
  std::vector<size_t> owners;
  for (size_t index = 0; index < count; ++index) {
    for (Continuation& window : prompts.windows(task.examples[index].answers.front())) {
      windows.push_back(std::move(window));
      owners.push_back(index);
    }
  }
  const std::vector<ContinuationScore> scores = scores_of(asked, windows, on_progress);
  std::vector<double> nats(count, 0.0);
  for (size_t window = 0; window < windows.size(); ++window) nats[owners[window]] -= scores[window].log_likelihood;
  double total = 0.0, bytes = 0.0, words = 0.0;
  for (size_t index = 0; index < count; ++index) {
    const std::string& text = task.examples[index].answers.front();
    total += nats[index];
    bytes += static_cast<double>(text.size());
    words += static_cast<double>(base::count_words(text));
    result.answers.push_back({{"bytes", text.size()}, {"log_likelihood", -nats[index]}});
  }
  result.metrics.push_back({"word_perplexity", std::exp(total / std::max(1.0, words)), 0.0});
  result.metrics.push_back({"byte_perplexity", std::exp(total / std::max(1.0, bytes)), 0.0});
  result.metrics.push_back({"bits_per_byte", total / std::log(2.0) / std::max(1.0, bytes), 0.0});
}

}  // namespace

TaskResult run_task(const TaskModel& asked, const Task& task, const TaskOptions& options, const Progress& on_progress) {
  models::require_causal(asked.model, "be asked tasks");
  TaskResult result;
  result.name = task.name;
  result.kind = task.kind;
  const size_t count = count_of(task, options);
  result.examples = static_cast<int64_t>(count);
  TaskPrompts prompts(asked, task, options);
  using Run = void (*)(const TaskModel&, const Task&, size_t, TaskPrompts&, TaskResult&, const Progress&);
  constexpr std::array<Run, 4> kRuns = {run_choices, run_continuations, run_generation, run_texts};
  kRuns[static_cast<size_t>(task.kind)](asked, task, count, prompts, result, on_progress);
  result.cut = prompts.cut();
  return result;
}

}  // namespace fledge::train
