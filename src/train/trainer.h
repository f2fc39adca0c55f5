#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/checkpoint.h"
#include "train/data/loader.h"
#include "train/evaluation.h"
#include "train/objective.h"
#include "train/recipe.h"
#include "train/schedule.h"
#include "train/source.h"
#include "train/training_step.h"

namespace fledge::train {

/// What a run will do and need, worked out before it starts by running a step on the shape-only device.
struct RunPlan {
  int64_t parameters = 0;          ///< of the model
  int64_t trained_parameters = 0;  ///< of these and of adapters and heads beside them
  int64_t steps = 0;               ///< 0: measured at the start, from recipe.minutes
  int64_t tokens_per_step = 0;
  int64_t training_tokens = 0;  ///< in the data
  double flops_per_step = 0.0;
  size_t parameter_bytes = 0, gradient_bytes = 0, optimizer_bytes = 0, encoding_bytes = 0, activation_bytes = 0;
  size_t objective_bytes = 0;  ///< of a teacher
  tensor::DType activation_type = tensor::DType::f32;

  size_t total_bytes() const {
    return parameter_bytes + gradient_bytes + optimizer_bytes + encoding_bytes + activation_bytes + objective_bytes;
  }
};

/// One finished step.
struct StepReport {
  int64_t step = 0;  ///< steps done, from 1
  int64_t steps = 0;
  StepResult result;
  double learning_rate = 0.0;
  double seconds = 0.0;
  double tokens_per_second = 0.0;
  double flops_per_second = 0.0;
};

/// What the model writes while it is trained.
struct Sample {
  std::string prompt, text;
  bool is_answer = false;  ///< to the prompt as a user's message; otherwise its continuation
};

/// How a run ended.
struct RunResult {
  int64_t step = 0;
  bool finished = false;                ///< false: stopped by the user or by max_minutes; --resume goes on
  std::optional<double> training_loss;  ///< of the last step; nothing where no step was left
  double validation_loss = 0.0;
  Metrics validation_metrics;
  std::filesystem::path checkpoint;
  std::string description;  ///< of the last validation; see Objective::describe
};

/// What the command line shows while a run goes. Called by process 0 alone, between steps.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void on_start(const RunPlan&, int64_t /*first_step*/) {}
  virtual void on_note(const std::string&) {}
  virtual void on_step(const StepReport&) {}
  virtual void on_evaluation(int64_t /*step*/, const EvaluationResult&) {}
  virtual void on_sample(int64_t /*step*/, const Sample&) {}
  virtual void on_checkpoint(int64_t /*step*/, const std::filesystem::path&) {}
};

/// Runs a recipe: data -> model -> objective -> folder.
///
/// RUN/recipe.toml is the resolved recipe, RUN/metrics.jsonl the log, RUN/curves.svg its picture, RUN/checkpoints/ the
/// model folders. A step is a function of the recipe, the data and the step number; a resumed run therefore ends with
/// the same bytes as an unbroken one (same machine, number of processes and threads).
class Trainer {
 public:
  /// Opens the data and the tokenizer. Throws Error or UsageError where recipe and data do not fit.
  Trainer(Recipe recipe, tensor::ProcessGroup& processes, TrainingObserver& observer);
  ~Trainer();

  /// Nothing is trained and nothing is written.
  RunPlan plan() const;

  /// With `resume`, goes on from the newest checkpoint of the run's folder where there is one; without it, a folder
  /// that holds a run is refused.
  RunResult run(bool resume);

  const Recipe& recipe() const { return recipe_; }

 private:
  struct Session;
  BatchPlan batch_plan() const;
  int64_t steps_of_epochs() const;
  void decide_steps(Session& session);
  void open_run_folder(bool resume);
  void start(Session& session, bool resume);
  StepResult train_step(Session& session, int64_t step, double learning_rate);
  StepResult train_step_or_explain(Session& session, int64_t step, double learning_rate);
  void after_step(Session& session, bool last);
  void evaluate_now(Session& session);
  void sample_now(Session& session);
  void save_now(Session& session);

  Recipe recipe_;
  tensor::ProcessGroup& processes_;
  TrainingObserver& observer_;
  tensor::DType activation_type_;
  std::filesystem::path run_folder_;
  std::unique_ptr<BatchSource> source_;
};

}  // namespace fledge::train
