#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/compare.h"
#include "cli/compare_report.h"
#include "cli/generation_speed.h"
#include "cli/loaded_model.h"
#include "cli/work_progress.h"
#include "train/data/chat_reader.h"
#include "train/data/chat_tokens.h"
#include "train/perplexity.h"
#include "train/tasks/continuation_scorer.h"
#include "train/tasks/instruction_rules.h"
#include "train/tasks/task_runner.h"

namespace fledge::cli {
namespace {

/// What all models are measured by, read once.
struct Measures {
  std::vector<train::Instruction> instructions;
  std::string text;
  std::vector<train::Task> tasks;
};

Measures read_measures(const CompareOptions& options) {
  Measures measures;
  if (!options.skip_answers) {
    measures.instructions =
        options.prompts.empty() ? train::standard_instructions() : train::read_instructions(options.prompts);
  }
  if (!options.text.empty()) measures.text = base::read_file(options.text);
  // Refused here, and not only when a model with a template comes.
  if (!options.chats.empty()) base::MappedFile{options.chats};
  for (const std::string& file : options.tasks) measures.tasks.push_back(train::read_task(file));
  return measures;
}

/// Bytes of the weights as they are stored.
int64_t stored_bytes(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path)) return static_cast<int64_t>(std::filesystem::file_size(path, error));
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const std::string ending = entry.path().extension().string(), name = entry.path().filename().string();
    if (name == "optimizer.safetensors" || (ending != ".safetensors" && ending != ".gguf")) continue;
    bytes += static_cast<int64_t>(entry.file_size(error));
  }
  return bytes;
}

/// Measures one model into its column.
class ColumnRun {
 public:
  ColumnRun(const CompareOptions& options, const Measures& measures, size_t index, WorkProgress& progress,
            Comparison& comparison)
      : options_(options),
        measures_(measures),
        index_(index),
        progress_(progress),
        comparison_(comparison),
        opened_(open_model(options.models[index], options.precision, false)),
        tokenizer_(std::make_shared<const nn::Tokenizer>(open_tokenizer(opened_))),
        end_tokens_(end_tokens_of(opened_, *tokenizer_)) {
    auto loaded = chat_template_of(opened_, *tokenizer_);
    if (!loaded) return;
    template_ = std::make_shared<const nn::ChatTemplate>(std::move(*loaded));
    encoder_.emplace(*template_, *tokenizer_);
  }

  void run() {
    add("Size", "parameters", static_cast<double>(opened_.model().parameters().element_count()) / 1e6, -1, "M", 2);
    add("Size", "weights on disk", static_cast<double>(stored_bytes(opened_.folder)) / 1e6, -1, "MB", 1);
    add("Size", "context", static_cast<double>(opened_.model().context_length()), 0, "tokens", 0);
    if (!opened_.model().is_causal()) return;
    if (!options_.skip_speed) run_speed();
    if (!measures_.text.empty()) run_text();
    if (!options_.chats.empty()) run_chats();
    for (const train::Task& task : measures_.tasks) run_task(task);
    if (!measures_.instructions.empty()) run_instructions();
  }

 private:
  void add(const std::string& section, const std::string& name, double value, int better, const std::string& unit = "",
           int digits = 3) {
    comparison_.add(index_, {section, name, {}, better, unit, digits}, value);
  }

  void show(int64_t done, int64_t total, const std::string& what) {
    progress_.update(
        {static_cast<double>(done), static_cast<double>(total), {{"", comparison_.models[index_] + ", " + what}}});
  }

  void run_speed() {
    show(0, 1, "speed");
    constexpr int64_t kPrompt = 256, kMade = 64;
    const int64_t prompt = std::min(kPrompt, opened_.model().context_length() / 2);
    const int64_t made = std::min(kMade, opened_.model().context_length() - prompt);
    infer::BatchOptions batching;
    batching.activation_type = opened_.activation_type;
    batching.share_prefixes = false;
    batching.cache_tokens = prompt + made + 256;
    infer::BatchScheduler scheduler(opened_.model(), opened_.memory(), batching);
    measure_generation(scheduler, 1, prompt, 2, tokenizer_->vocabulary_size());  // packs the weights
    const GenerationSpeed speed = measure_generation(scheduler, 1, prompt, made, tokenizer_->vocabulary_size());
    add("Speed", "reading a prompt", speed.prompt, 1, "tokens/s", 0);
    if (made > 1) add("Speed", "writing", speed.decode, 1, "tokens/s", 0);
    add("Speed", "weights in memory",
        static_cast<double>(opened_.memory().parameters.bytes_in_use() + opened_.memory().encodings.bytes_in_use()) /
            1e6,
        -1, "MB", 1);
  }

  void run_text() {
    const std::vector<int32_t> ids = tokenizer_->encode(measures_.text, {.match_special = false});
    const train::Perplexity result = train::measure_perplexity(
        opened_.model(), opened_.memory(), ids, static_cast<int64_t>(measures_.text.size()), {},
        opened_.activation_type, [&](int64_t done, int64_t total) { show(done, total, "text"); });
    add("Plain text", "bits per byte", result.bits_per_byte(), -1, "", 4);
    add("Plain text", "perplexity per token", result.perplexity(), -1);
  }

  /// The assistant's tokens of held-out conversations through the model's own template; a base model has none.
  void run_chats() {
    if (!template_) return;
    const train::ChatTokenizer chat(tokenizer_, template_, train::TrainedTurns::all);
    train::ChatReader reader(options_.chats, {});
    train::ChatExample example;
    std::vector<train::Continuation> continuations;
    double tokens = 0.0, bytes = 0.0, left_out = 0.0;
    int64_t taken = 0;
    while ((options_.limit == 0 || taken < options_.limit) && reader.next(example)) {
      const train::ChatTokens rendered = chat.tokenize(example.chosen);
      ++taken;
      if (static_cast<int64_t>(rendered.ids.size()) > opened_.model().context_length()) {
        left_out += 1.0;
        continue;
      }
      for (const train::TokenSpan& span : rendered.trained) {
        if (span.begin == 0) continue;
        const auto first = rendered.ids.begin();
        continuations.push_back({{first, first + span.begin}, {first + span.begin, first + span.end}});
        tokens += span.end - span.begin;
        bytes += static_cast<double>(tokenizer_->decode(continuations.back().tokens, true).size());
      }
    }
    if (continuations.empty()) throw base::Error("{}: no conversation fits the model", options_.chats);
    double nats = 0.0;
    for (const train::ContinuationScore& score :
         train::score_continuations(opened_.model(), opened_.memory(), continuations, opened_.activation_type,
                                    [&](int64_t done, int64_t total) { show(done, total, "chats"); }))
      nats -= score.log_likelihood;
    add("Held-out chats", "loss of the assistant's tokens", nats / tokens, -1, "nats", 4);
    add("Held-out chats", "bits per byte of the answers", nats / std::log(2.0) / std::max(1.0, bytes), -1, "", 4);
    add("Held-out chats", "answers", static_cast<double>(continuations.size()), 0, "", 0);
    if (left_out > 0.0) add("Held-out chats", "longer than the context, left out", left_out, 0, "", 0);
  }

  void run_task(const train::Task& task) {
    const train::TaskModel asked{opened_.model(), opened_.memory(), *tokenizer_,
                                 nullptr,         end_tokens_,      opened_.activation_type};
    const train::TaskResult result = train::run_task(
        asked, task, {.limit = options_.limit}, [&](int64_t done, int64_t total) { show(done, total, task.name); });
    for (const train::TaskMetric& metric : result.metrics) {
      const bool smaller_is_better = metric.name.ends_with("perplexity") || metric.name == "bits_per_byte";
      add("Task " + task.name, metric.name, metric.value, smaller_is_better ? -1 : 1, "", 4);
    }
  }

  /// A chat model gets the prompt as a message; a base model continues it.
  std::vector<int32_t> prompt_of(const train::Instruction& instruction) const {
    if (!encoder_) {
      const std::string system = instruction.system.empty() ? "" : instruction.system + "\n";
      return tokenizer_->encode(system + instruction.prompt, {.add_special = true, .match_special = false});
    }
    base::OrderedJson messages = base::OrderedJson::array();
    if (!instruction.system.empty()) messages.push_back({{"role", "system"}, {"content", instruction.system}});
    messages.push_back({{"role", "user"}, {"content", instruction.prompt}});
    nn::ChatRenderOptions rendering;
    rendering.add_generation_prompt = true;
    return encoder_->encode(messages, nullptr, rendering).ids;
  }

  void run_instructions() {
    std::vector<train::AnswerRequest> requests;
    for (const train::Instruction& instruction : measures_.instructions) {
      train::AnswerRequest request;
      request.prompt = prompt_of(instruction);
      request.options.sampling.temperature = 0.0;
      request.options.max_tokens = options_.max_tokens;
      request.options.token_count = tokenizer_->vocabulary_size();
      request.options.end_tokens = end_tokens_;
      requests.push_back(std::move(request));
    }
    const std::vector<train::Answer> answers =
        train::answer_all(opened_.model(), opened_.memory(), *tokenizer_, requests, opened_.activation_type,
                          [&](int64_t done, int64_t total) { show(done, total, "answers"); });
    take_answers(answers);
  }

  void take_answers(const std::vector<train::Answer>& answers) {
    std::map<std::string, std::pair<double, double>> kept;  // by kind: kept and asked
    double all_kept = 0.0, all = 0.0, whole = 0.0, with_rules = 0.0, tokens = 0.0;
    for (size_t number = 0; number < answers.size(); ++number) {
      const train::Instruction& instruction = measures_.instructions[number];
      ComparedAnswer::Said said{answers[number].text, {}};
      for (const train::InstructionRule& rule : instruction.rules) {
        const bool follows = train::follows(rule, answers[number]);
        said.rules.emplace_back(train::describe(rule), follows);
        kept[rule.kind].first += follows;
        kept[rule.kind].second += 1.0;
        all_kept += follows;
        all += 1.0;
      }
      if (!said.rules.empty()) {
        with_rules += 1.0;
        whole += std::ranges::all_of(said.rules, [](const auto& rule) { return rule.second; });
      }
      tokens += static_cast<double>(answers[number].tokens);
      comparison_.answers[number].answers.push_back(std::move(said));
    }
    const std::string section = "Following instructions";
    if (with_rules > 0.0) {
      add(section, "answers that keep every rule", 100.0 * whole / with_rules, 1, "%", 1);
      add(section, "rules kept", 100.0 * all_kept / all, 1, "%", 1);
    }
    for (const auto& [kind, counts] : kept) add(section, kind, 100.0 * counts.first / counts.second, 1, "%", 1);
    add(section, "length of an answer", tokens / static_cast<double>(answers.size()), 0, "tokens", 1);
  }

  const CompareOptions& options_;
  const Measures& measures_;
  size_t index_;
  WorkProgress& progress_;
  Comparison& comparison_;
  OpenedModel opened_;
  std::shared_ptr<const nn::Tokenizer> tokenizer_;
  std::shared_ptr<const nn::ChatTemplate> template_;  ///< null: a base model
  std::optional<nn::ChatEncoder> encoder_;
  std::vector<int32_t> end_tokens_;
};

/// Names that tell the models apart: the last parts of their paths, or the whole paths where those agree.
std::vector<std::string> short_names(const std::vector<std::string>& models) {
  std::vector<std::string> names;
  for (const std::string& model : models) {
    std::string path = model;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    names.push_back(std::filesystem::path(path).filename().string());
  }
  for (size_t index = 0; index < names.size(); ++index) {
    if (std::ranges::count(names, names[index]) > 1) return models;
  }
  return names;
}

}  // namespace

void run_compare(const CompareOptions& options, const CommonOptions& common) {
  WorkProgress progress("compare", common);
  const Measures measures = read_measures(options);
  Comparison comparison;
  comparison.models = short_names(options.models);
  for (const train::Instruction& instruction : measures.instructions)
    comparison.answers.push_back({instruction.system, instruction.prompt, {}});
  // One model at a time is in memory.
  for (size_t index = 0; index < options.models.size(); ++index)
    ColumnRun(options, measures, index, progress, comparison).run();
  for (ComparedAnswer& answer : comparison.answers) answer.answers.resize(options.models.size());
  progress.finish("");
  if (!options.html.empty()) base::write_file(options.html, comparison_html(comparison));
  if (options.json) {
    print(comparison_json(comparison).dump(-1, ' ', false, base::OrderedJson::error_handler_t::replace) + "\n");
    return;
  }
  print(comparison_text(comparison, base::describe_terminal(1).color));
  if (!options.html.empty()) print(fmt::format("the report with all answers: {}\n", options.html));
}

}  // namespace fledge::cli
