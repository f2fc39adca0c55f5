#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "cli/common.h"
#include "cli/evaluate.h"
#include "cli/loaded_model.h"
#include "cli/work_progress.h"
#include "train/perplexity.h"
#include "train/tasks/task_runner.h"

namespace fledge::cli {
namespace {

void show_perplexity(const EvaluateOptions& options, OpenedModel& opened, const nn::Tokenizer& tokenizer,
                     WorkProgress& progress, base::OrderedJson& report) {
  const base::MappedFile text(options.perplexity);
  const std::vector<int32_t> ids = tokenizer.encode(text.text(), {.match_special = false});
  const train::Perplexity result = train::measure_perplexity(
      opened.model(), opened.memory(), ids, static_cast<int64_t>(text.text().size()),
      {.stride = options.stride, .chunk = options.chunk}, opened.activation_type, [&](int64_t done, int64_t total) {
        progress.update({static_cast<double>(done), static_cast<double>(total), {}});
      });
  report["loss"] = result.loss();
  report["perplexity"] = result.perplexity();
  report["bits_per_byte"] = result.bits_per_byte();
  report["tokens"] = result.tokens;
  report["bytes"] = result.bytes;
  if (options.json) return;
  progress.finish("");
  print(
      fmt::format("loss per token  {:.4f} nats\nperplexity      {:.3f}\nbits per byte   {:.4f}\nscored          {} "
                  "tokens, {} bytes\n",
                  result.loss(), result.perplexity(), result.bits_per_byte(), result.tokens, result.bytes));
}

base::OrderedJson to_json(const train::TaskResult& result) {
  base::OrderedJson json = {{"kind", std::string(train::name_of(result.kind))}, {"examples", result.examples}};
  if (result.cut > 0) json["contexts_cut"] = result.cut;
  for (const train::TaskMetric& metric : result.metrics) {
    json[metric.name] = metric.value;
    if (metric.standard_error > 0.0) json[metric.name + "_stderr"] = metric.standard_error;
  }
  return json;
}

void show_task(const train::TaskResult& result) {
  print(fmt::format("{}  ({} examples{})\n", result.name, result.examples,
                    result.cut > 0 ? fmt::format(", {} contexts cut at their beginning", result.cut) : ""));
  for (const train::TaskMetric& metric : result.metrics) {
    const std::string error = metric.standard_error > 0.0 ? fmt::format("  +- {:.4f}", metric.standard_error) : "";
    print(fmt::format("  {:<16}{:.4f}{}\n", metric.name, metric.value, error));
  }
}

void show_tasks(const EvaluateOptions& options, OpenedModel& opened, const nn::Tokenizer& tokenizer,
                WorkProgress& progress, base::OrderedJson& report) {
  std::vector<train::Task> tasks;
  for (const std::string& file : options.tasks) tasks.push_back(train::read_task(file));
  const auto chat_template = options.chat ? chat_template_of(opened, tokenizer) : std::nullopt;
  if (options.chat && !chat_template)
    throw base::UsageError("{} has no chat template; leave --chat out for a base model", options.model);
  std::optional<nn::ChatEncoder> encoder;
  if (chat_template) encoder.emplace(*chat_template, tokenizer);
  const train::TaskModel asked{opened.model(),
                               opened.memory(),
                               tokenizer,
                               encoder ? &*encoder : nullptr,
                               end_tokens_of(opened, tokenizer),
                               opened.activation_type};
  std::string answers;
  for (const train::Task& task : tasks) {
    const train::TaskResult result = train::run_task(
        asked, task, {.limit = options.limit, .shots = options.shots}, [&](int64_t done, int64_t total) {
          progress.update({static_cast<double>(done), static_cast<double>(total), {{"", task.name}}});
        });
    report["tasks"][result.name] = to_json(result);
    for (base::OrderedJson answer : result.answers) {
      answer["task"] = result.name;
      answers += answer.dump(-1, ' ', false, base::OrderedJson::error_handler_t::replace) + "\n";
    }
    if (!options.json) {
      progress.finish("");
      show_task(result);
    }
  }
  if (!options.answers.empty()) base::write_file(options.answers, answers);
}

}  // namespace

void run_eval(const EvaluateOptions& options, const CommonOptions& common) {
  if (options.perplexity.empty() && options.tasks.empty())
    throw base::UsageError("nothing to measure: give --perplexity FILE or --tasks FILE,...");
  WorkProgress progress("evaluate", common);
  OpenedModel opened = open_model(options.model, options.precision, false, options.adapters);
  const nn::Tokenizer tokenizer = open_tokenizer(opened);
  base::OrderedJson report = base::OrderedJson::object();
  if (!options.perplexity.empty()) show_perplexity(options, opened, tokenizer, progress, report);
  if (!options.tasks.empty()) show_tasks(options, opened, tokenizer, progress, report);
  if (!options.json) return;
  progress.finish("");
  report["seconds"] = progress.seconds();
  print(report.dump() + "\n");
}

}  // namespace fledge::cli
