#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signals.h"
#include "cli/common.h"
#include "cli/machine.h"
#include "cli/train.h"
#include "tensor/peak.h"
#include "train/plot.h"
#include "train/trainer.h"

namespace fledge::cli {
namespace {

std::string megabytes(size_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

tensor::Precision precision_of(tensor::DType type) {
  return type == tensor::DType::bf16 ? tensor::Precision::bf16 : tensor::Precision::f32;
}

/// Share of the peak that a step of these models reaches, used for a first guess of the time before anything is
/// measured.
constexpr double kGuessedShare = 0.5;

base::OrderedJson plan_json(const train::RunPlan& plan, double peak, double seconds) {
  return {{"parameters", plan.parameters},
          {"trained_parameters", plan.trained_parameters},
          {"steps", plan.steps},
          {"tokens_per_step", plan.tokens_per_step},
          {"training_tokens", plan.training_tokens},
          {"flops_per_step", plan.flops_per_step},
          {"precision", std::string(tensor::name_of(plan.activation_type))},
          {"memory_bytes",
           {{"parameters", plan.parameter_bytes},
            {"gradients", plan.gradient_bytes},
            {"optimizer", plan.optimizer_bytes},
            {"packed_weights", plan.encoding_bytes},
            {"activations", plan.activation_bytes},
            {"teacher", plan.objective_bytes},
            {"total", plan.total_bytes()}}},
          {"peak_flops_per_second", peak},
          {"estimated_seconds", seconds}};
}

/// " (1.2 M trained)", where that is not all of them.
std::string trained_part(const train::RunPlan& plan) {
  if (plan.trained_parameters == plan.parameters) return "";
  return fmt::format(" ({} trained)", train::short_number(static_cast<double>(plan.trained_parameters)));
}

void show_plan(const train::Trainer& trainer, bool json) {
  const train::RunPlan plan = trainer.plan();
  const double peak = tensor::measure_peak_flops(precision_of(plan.activation_type));
  const double seconds = plan.steps > 0 ? static_cast<double>(plan.steps) * plan.flops_per_step / (kGuessedShare * peak)
                                        : trainer.recipe().minutes * 60.0;
  if (json) {
    print(plan_json(plan, peak, seconds).dump() + "\n");
    return;
  }
  print(fmt::format("parameters    {:.2f} M{}\n", static_cast<double>(plan.parameters) / 1e6, trained_part(plan)));
  print(fmt::format("steps         {}\n", plan.steps > 0 ? std::to_string(plan.steps) : "measured at the start"));
  print(fmt::format("tokens        {} a step, {} in the data\n", plan.tokens_per_step, plan.training_tokens));
  print(fmt::format("arithmetic    {}, {:.2f} TFLOP a step; this machine's peak is {:.0f} GFLOP/s\n",
                    tensor::name_of(plan.activation_type), plan.flops_per_step / 1e12, peak / 1e9));
  print(
      fmt::format("memory        {} (parameters {}, gradients {}, optimizer {}, packed weights {}, activations {}{})\n",
                  megabytes(plan.total_bytes()), megabytes(plan.parameter_bytes), megabytes(plan.gradient_bytes),
                  megabytes(plan.optimizer_bytes), megabytes(plan.encoding_bytes), megabytes(plan.activation_bytes),
                  plan.objective_bytes > 0 ? ", teacher " + megabytes(plan.objective_bytes) : ""));
  print(fmt::format("time          about {:.1f} minutes at half of the peak\n", seconds / 60.0));
}

/// Draws a run on standard error, or with --json prints its records.
class RunDisplay : public train::TrainingObserver {
 public:
  RunDisplay(bool json, const CommonOptions& common, int processes)
      : json_(json), common_(common), processes_(processes) {}

  void on_start(const train::RunPlan& plan, int64_t first_step) override {
    // Of all processes: a step's operations are counted over all of them.
    peak_ = processes_ * tensor::measure_peak_flops(precision_of(plan.activation_type));
    base::ProgressOptions options;
    options.quiet = common_.quiet;
    progress_ = std::make_unique<base::Progress>("train", options);
    progress_->note(fmt::format("{} parameters{}, {} steps of {} tokens, {}, {} of memory, {} threads{}",
                                train::short_number(static_cast<double>(plan.parameters)), trained_part(plan),
                                plan.steps, plan.tokens_per_step, tensor::name_of(plan.activation_type),
                                megabytes(plan.total_bytes()), base::thread_count(),
                                processes_ > 1 ? fmt::format(" in each of {} processes", processes_) : ""));
    if (first_step > 0) progress_->note(fmt::format("resumed after step {}", first_step));
  }

  void on_step(const train::StepReport& report) override {
    if (json_) {
      print_record({{"step", report.step},
                    {"loss", report.result.loss},
                    {"gradient_norm", report.result.gradient_norm},
                    {"learning_rate", report.learning_rate},
                    {"tokens_per_second", report.tokens_per_second},
                    {"share_of_peak", report.flops_per_second / peak_},
                    {"metrics", report.result.metrics}});
    }
    base::ProgressState state{static_cast<double>(report.step), static_cast<double>(report.steps), {}};
    state.fields.push_back({"loss", fmt::format("{:.4f}", report.result.loss)});
    if (validation_ > 0.0) state.fields.push_back({"val", fmt::format("{:.4f}", validation_)});
    state.fields.push_back({"", fmt::format("{:.0f} tokens/s", report.tokens_per_second)});
    state.fields.push_back({"", fmt::format("{:.0f} % of peak", 100.0 * report.flops_per_second / peak_)});
    progress_->update(state);
  }

  void on_evaluation(int64_t step, const train::EvaluationResult& result) override {
    validation_ = result.loss;
    std::string text = fmt::format("step {}: validation loss {:.4f}", step, result.loss);
    base::OrderedJson record = {{"step", step}, {"validation_loss", result.loss}};
    if (result.metrics.empty()) {
      const double perplexity = std::exp(result.loss);
      record["validation_perplexity"] = perplexity;
      text += fmt::format(", perplexity {:.2f}", perplexity);
    }
    for (const auto& [name, value] : result.metrics) {
      record["validation_" + name] = value;
      text += fmt::format(", {} {:.4f}", name, value);
    }
    if (json_) print_record(record);
    progress_->note(text);
  }

  void on_note(const std::string& text) override { progress_->note(text); }

  void on_sample(int64_t step, const train::Sample& sample) override {
    if (json_) print_record({{"step", step}, {"prompt", sample.prompt}, {"sample", sample.text}});
    const char* const arrow = sample.is_answer ? " -> " : "";
    progress_->note(fmt::format("step {}, sample: {}{}{}", step, sample.prompt, arrow, sample.text));
  }

  void on_checkpoint(int64_t step, const std::filesystem::path& folder) override {
    if (json_) print_record({{"step", step}, {"checkpoint", folder.string()}});
  }

  void finish(const std::string& summary) {
    if (progress_) progress_->finish(summary);
  }

 private:
  void print_record(const base::OrderedJson& record) {
    print(record.dump(-1, ' ', false, base::Json::error_handler_t::replace) + "\n");
    flush_standard_output();
  }

  bool json_;
  const CommonOptions& common_;
  int processes_;
  std::unique_ptr<base::Progress> progress_;
  double peak_ = 1.0, validation_ = 0.0;
};

/// The processes of one machine share its cores, unless the launcher gave each its own.
void share_cores(int processes) {
  const Machine machine = inspect_machine();
  const int usable = usable_cores(machine);
  if (processes > 1 && usable > 1 && usable == sysconf(_SC_NPROCESSORS_ONLN)) {
    base::set_thread_count(std::max(1, usable / processes));
  }
}

}  // namespace

void run_train(const TrainOptions& options, const CommonOptions& common) {
  const base::InterruptGuard guard;
  const auto processes = tensor::make_process_group();
  train::Recipe recipe = train::read_recipe(options.recipe, options.overrides);
  if (recipe.run.threads > 0 && common.threads == 0) base::set_thread_count(static_cast<int>(recipe.run.threads));
  const bool threads_given = recipe.run.threads > 0 || common.threads > 0 || std::getenv("OMP_NUM_THREADS") != nullptr;
  if (!threads_given) share_cores(processes->size());
  RunDisplay display(options.json, common, processes->size());
  train::Trainer trainer(std::move(recipe), *processes, display);
  if (options.dry_run) {
    if (processes->rank() == 0) show_plan(trainer, options.json);
    return;
  }
  const train::RunResult result = trainer.run(options.resume);
  if (processes->rank() != 0) return;
  const std::string training =
      result.training_loss ? fmt::format("training loss {:.4f}", *result.training_loss) : "no step was left";
  const std::string validation =
      result.validation_loss > 0.0 ? fmt::format(", validation loss {:.4f}", result.validation_loss) : "";
  display.finish(fmt::format("{} after step {}: {}{}; {}", result.finished ? "finished" : "stopped", result.step,
                             training, validation, result.checkpoint.string()));
  if (!options.json && result.finished && !result.description.empty()) print(result.description);
  if (!result.finished && base::interrupted()) {
    throw base::Interrupted("stopped; the checkpoint is written, and --resume goes on from it");
  }
}

}  // namespace fledge::cli
