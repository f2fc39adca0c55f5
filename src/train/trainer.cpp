#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "infer/generator.h"
#include "models/model_io.h"
#include "tensor/elementwise.h"
#include "train/adapter_run.h"
#include "train/chat_source.h"
#include "train/evaluation.h"
#include "train/metrics.h"
#include "train/plot.h"
#include "train/run_setup.h"

namespace fledge::train {
namespace {

using Clock = std::chrono::steady_clock;

// Steps that are timed to decide how many fit into recipe.minutes; the first ones also meet cold caches and page
// faults.
constexpr int64_t kWarmUpSteps = 2;
constexpr int64_t kTimedSteps = 5;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

OptimizerOptions optimizer_options(const Recipe& recipe) {
  return {recipe.optimizer.beta1, recipe.optimizer.beta2, recipe.optimizer.epsilon, recipe.optimizer.weight_decay,
          recipe.optimizer.bias_correction};
}

base::OrderedJson as_json(const Metrics& metrics, const std::string& prefix) {
  base::OrderedJson json = base::OrderedJson::object();
  for (const auto& [name, value] : metrics) json[prefix + name] = value;
  return json;
}

}  // namespace

/// What lives while a run goes.
struct Trainer::Session {
  nn::Memory memory;
  tensor::Arena batches_arena{"batches"};
  std::unique_ptr<models::LanguageModel> model;
  std::unique_ptr<models::ModelAdapter> adapter;  ///< what is trained; null: the model
  std::unique_ptr<Objective> objective;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<TrainingStep> training_step;
  std::vector<Batch> batches;
  std::vector<int64_t> first_samples;
  TrainingState state;
  std::unique_ptr<MetricsWriter> metrics;
  std::optional<double> training_loss;  ///< nothing before the first step
  EvaluationResult validation;
  int64_t evaluated_step = -1, saved_step = -1;
};

Trainer::Trainer(Recipe recipe, tensor::ProcessGroup& processes, TrainingObserver& observer)
    : recipe_(std::move(recipe)),
      processes_(processes),
      observer_(observer),
      activation_type_(activation_type_of(recipe_.precision)) {
  run_folder_ = recipe_.run.out;
  if (run_folder_.empty()) run_folder_ = std::filesystem::path("runs") / recipe_.run.name;
  source_ = make_source(recipe_, run_folder_, processes_);
  batch_plan().check();
}

Trainer::~Trainer() = default;

BatchPlan Trainer::batch_plan() const {
  BatchPlan plan;
  plan.global_rows = recipe_.batch.sequences;
  plan.processes = processes_.size();
  plan.rank = processes_.rank();
  plan.rows = recipe_.batch.micro_sequences > 0 ? recipe_.batch.micro_sequences
                                                : std::max<int64_t>(1, recipe_.batch.sequences / processes_.size());
  return plan;
}

RunPlan Trainer::plan() const {
  nn::Memory memory(tensor::Device::meta);
  const auto objective = make_objective(recipe_, *source_);
  const auto model = make_configured_model(recipe_, *source_, *objective);
  const int64_t model_parameters = model->parameters().element_count();
  const auto adapter = add_adapter(recipe_, *model);
  keep_base(recipe_, *model, activation_type_, memory.parameters);
  model->parameters().allocate(memory, tensor::DType::f32, true);
  const auto [begin, end] = shard_bounds(model->parameters().flat_size(), processes_);
  AdamW optimizer(model->parameters(), memory, optimizer_options(recipe_), begin, end);
  const auto alone = tensor::make_single_process();
  TrainingStep step(*model, memory, *objective, optimizer, *alone,
                    {.activation_type = activation_type_, .recomputes_blocks = recipe_.recompute == "blocks"});
  Batch batch;
  source_->shape(batch_plan().rows, memory.activations, batch);
  const int64_t first_sample = 0;
  step.run(0, std::span(&batch, 1), std::span(&first_sample, 1), 0.0);

  RunPlan plan;
  plan.parameters = model_parameters;
  plan.trained_parameters = model->parameters().trainable_count();
  plan.steps = recipe_.steps > 0 ? recipe_.steps : steps_of_epochs();
  plan.tokens_per_step = recipe_.tokens_per_step();
  plan.training_tokens = source_->training_tokens();
  plan.flops_per_step =
      model->training_flops_per_token(recipe_.batch.sequence_length) * static_cast<double>(plan.tokens_per_step);
  if (adapter) plan.flops_per_step = adapted_flops(plan.flops_per_step, model_parameters, adapter->parameter_count());
  plan.parameter_bytes = memory.parameters.peak_bytes();
  plan.gradient_bytes = memory.gradients.peak_bytes();
  plan.optimizer_bytes = memory.optimizer.peak_bytes();
  plan.encoding_bytes = memory.encodings.peak_bytes();
  plan.activation_bytes = memory.activations.peak_bytes();
  plan.objective_bytes = objective->held_bytes();
  plan.activation_type = activation_type_;
  return plan;
}

void Trainer::open_run_folder(bool resume) {
  const bool holds_run = !models::newest_checkpoint(run_folder_).empty();
  if (holds_run && !resume) {
    throw base::UsageError(
        "{} already holds a run: go on with --resume, or choose another folder with "
        "--set run.out=FOLDER",
        run_folder_.string());
  }
  base::create_folder(run_folder_ / "checkpoints");
}

void Trainer::start(Session& session, bool resume) {
  session.objective = make_objective(recipe_, *source_);
  session.model = make_configured_model(recipe_, *source_, *session.objective);
  session.adapter = add_adapter(recipe_, *session.model);
  keep_base(recipe_, *session.model, activation_type_, session.memory.parameters);
  session.model->parameters().allocate(session.memory, tensor::DType::f32, true);
  const auto [begin, end] = shard_bounds(session.model->parameters().flat_size(), processes_);
  session.optimizer =
      std::make_unique<AdamW>(session.model->parameters(), session.memory, optimizer_options(recipe_), begin, end);
  session.training_step = std::make_unique<TrainingStep>(
      *session.model, session.memory, *session.objective, *session.optimizer, processes_,
      StepOptions{activation_type_, recipe_.optimizer.clip_norm, static_cast<uint64_t>(recipe_.run.seed),
                  recipe_.recompute == "blocks"});
  session.batches.resize(static_cast<size_t>(batch_plan().micro_batches()));
  session.first_samples.resize(session.batches.size());

  const std::filesystem::path checkpoint = resume ? models::newest_checkpoint(run_folder_) : std::filesystem::path();
  initialize_values(recipe_, *session.objective, *session.model);
  if (session.adapter) initialize_adapter(recipe_, *session.adapter, session.memory);
  session.objective->begin(
      {*session.model, session.memory, activation_type_, *source_, batch_plan().rows, run_folder_, processes_});
  if (checkpoint.empty()) {
    decide_steps(session);
  } else {
    // Steps that were measured or counted when the run began stand in its own recipe.
    if (recipe_.steps == 0) {
      recipe_ = with_steps(recipe_, read_recipe(run_folder_ / "recipe.toml").steps, "the recipe");
    }
    session.state =
        load_checkpoint(checkpoint, *session.model, session.adapter.get(), *session.optimizer, session.memory);
    session.saved_step = session.state.step;
  }
  const std::string identity = recipe_identity(recipe_, *source_);
  if (!checkpoint.empty() && session.state.recipe_identity != identity) {
    throw base::UsageError("{} was trained with another recipe or other data; to go on, use RUN/recipe.toml as it is",
                           checkpoint.string());
  }
  session.state.recipe_identity = identity;
}

int64_t Trainer::steps_of_epochs() const {
  const double windows = recipe_.epochs * static_cast<double>(source_->samples_per_epoch());
  return static_cast<int64_t>(std::ceil(windows / static_cast<double>(recipe_.batch.sequences)));
}

/// The number of steps from epochs or, by measuring, from minutes.
void Trainer::decide_steps(Session& session) {
  if (recipe_.steps > 0) return;
  int64_t steps = 0;
  if (recipe_.epochs > 0.0) {
    steps = steps_of_epochs();
  } else {
    for (int64_t step = 0; step < kWarmUpSteps; ++step) train_step(session, step, 0.0);
    // The fastest one counts: another program's moment of work must not shorten the whole run.
    double fastest = std::numeric_limits<double>::infinity();
    for (int64_t step = 0; step < kTimedSteps; ++step) {
      const auto start = Clock::now();
      train_step(session, step, 0.0);
      fastest = std::min(fastest, seconds_since(start));
    }
    const double seconds = processes_.all_reduce_sum(fastest) / processes_.size();
    steps = static_cast<int64_t>(recipe_.minutes * 60.0 / seconds);
    tensor::fill(session.optimizer->first_moments(), 0.0);
    tensor::fill(session.optimizer->second_moments(), 0.0);
    session.optimizer->set_steps(0);
  }
  recipe_ = with_steps(recipe_, std::max<int64_t>(1, steps), "the recipe");
}

/// train_step(), with the way back in its error.
StepResult Trainer::train_step_or_explain(Session& session, int64_t step, double learning_rate) {
  try {
    return train_step(session, step, learning_rate);
  } catch (const base::UsageError&) {
    throw;
  } catch (const base::Error& error) {
    if (session.saved_step <= 0) throw;
    throw base::Error("{}; the checkpoint {} is kept", error.what(),
                      checkpoint_folder(run_folder_, session.saved_step).string());
  }
}

StepResult Trainer::train_step(Session& session, int64_t step, double learning_rate) {
  const BatchPlan plan = batch_plan();
  for (int64_t micro = 0; micro < plan.micro_batches(); ++micro) {
    const auto index = static_cast<size_t>(micro);
    session.first_samples[index] = plan.first_sample(step, micro);
    source_->load(session.first_samples[index], plan.rows, session.batches_arena, session.batches[index]);
  }
  session.objective->before_step(*session.model, session.memory, step, session.batches, session.first_samples);
  return session.training_step->run(step, session.batches, session.first_samples, learning_rate);
}

RunResult Trainer::run(bool resume) {
  const bool leads = processes_.rank() == 0;
  if (leads) open_run_folder(resume);
  processes_.barrier();
  Session session;
  start(session, resume);
  if (leads) {
    base::write_file(run_folder_ / "recipe.toml", to_toml(recipe_));
    const auto log = run_folder_ / "metrics.jsonl";
    session.metrics = std::make_unique<MetricsWriter>(
        session.state.step > 0 ? MetricsWriter::resume(log, session.state.step) : MetricsWriter::create(log));
    observer_.on_start(plan(), session.state.step);
    for (const std::string& note : source_->notes()) observer_.on_note(note);
    for (const std::string& note : session.objective->notes()) observer_.on_note(note);
  }

  const Schedule schedule = Schedule::of(recipe_, recipe_.steps);
  double flops_per_token = session.model->training_flops_per_token(recipe_.batch.sequence_length);
  if (session.adapter) {
    const int64_t own = session.adapter->parameter_count();
    flops_per_token = adapted_flops(flops_per_token, session.model->parameters().element_count() - own, own);
  }
  const auto run_start = Clock::now();
  bool stopping = false;
  while (session.state.step < recipe_.steps && !stopping) {
    const auto start_time = Clock::now();
    const double learning_rate = recipe_.optimizer.learning_rate * schedule.multiplier(session.state.step);
    StepReport report;
    report.result = train_step_or_explain(session, session.state.step, learning_rate);
    session.state.step += 1;
    session.state.target_tokens += report.result.target_tokens;
    session.training_loss = report.result.loss;
    report.step = session.state.step;
    report.steps = recipe_.steps;
    report.learning_rate = learning_rate;
    report.seconds = seconds_since(start_time);
    report.tokens_per_second = static_cast<double>(report.result.tokens) / report.seconds;
    report.flops_per_second = flops_per_token * report.tokens_per_second;
    if (leads) {
      base::OrderedJson record = {{"loss", report.result.loss},
                                  {"gradient_norm", report.result.gradient_norm},
                                  {"learning_rate", learning_rate},
                                  {"tokens", session.state.target_tokens},
                                  {"tokens_per_second", report.tokens_per_second},
                                  {"flops_per_second", report.flops_per_second}};
      record.update(as_json(report.result.metrics, ""));
      session.metrics->write(report.step, record);
      observer_.on_step(report);
    }
    const bool out_of_time = recipe_.max_minutes > 0.0 && seconds_since(run_start) > recipe_.max_minutes * 60.0;
    // All processes must agree to stop at the same step.
    stopping = processes_.all_reduce_sum(base::interrupted() || out_of_time ? 1.0 : 0.0) > 0.0;
    after_step(session, stopping || session.state.step == recipe_.steps);
  }
  return {session.state.step,
          session.state.step == recipe_.steps,
          session.training_loss,
          session.validation.loss,
          session.validation.metrics,
          checkpoint_folder(run_folder_, session.state.step),
          session.validation.description};
}

void Trainer::after_step(Session& session, bool last) {
  const int64_t step = session.state.step;
  const auto due = [&](int64_t every) { return every > 0 && step % every == 0; };
  const bool finished = step == recipe_.steps;
  if (due(recipe_.evaluation.every) || finished) evaluate_now(session);
  if (due(recipe_.samples.every) && !last) sample_now(session);
  if (last || due(recipe_.checkpoints.every)) save_now(session);
}

void Trainer::evaluate_now(Session& session) {
  const int64_t rows = batch_plan().rows;
  if (session.evaluated_step == session.state.step || source_->evaluation_batches(rows) == 0) return;
  session.evaluated_step = session.state.step;
  const EvaluationResult result = evaluate(*session.model, session.memory, *session.objective, *source_, rows,
                                           recipe_.evaluation.batches, activation_type_, processes_);
  session.validation = result;
  if (session.state.best_step < 0 || result.loss < session.state.best_validation_loss) {
    session.state.best_validation_loss = result.loss;
    session.state.best_step = session.state.step;
  }
  if (processes_.rank() != 0) return;
  base::OrderedJson record = as_json(result.metrics, "validation_");
  record["validation_loss"] = result.loss;
  record["validation_perplexity"] = std::exp(result.loss);
  session.metrics->write(session.state.step, record);
  observer_.on_evaluation(session.state.step, result);
}

void Trainer::sample_now(Session& session) {
  if (processes_.rank() == 0) {
    for (const std::string& prompt : recipe_.samples.prompts) {
      const std::vector<int32_t> ids = source_->sample_prompt(prompt);
      infer::GenerationOptions options;
      options.sampling.temperature = recipe_.samples.temperature;
      options.sampling.seed = static_cast<uint64_t>(recipe_.run.seed);
      options.max_tokens = recipe_.samples.max_tokens;
      options.token_count = source_->tokenizer().vocabulary_size();
      options.end_tokens = source_->sample_ends();
      std::vector<int32_t> made;
      infer::Generator(*session.model, session.memory, activation_type_)
          .generate(ids, options, [&](const infer::SampledToken& token) {
            made.push_back(token.token);
            return !base::interrupted();
          });
      const std::string text = source_->tokenizer().decode(made);
      session.metrics->write(session.state.step, {{"prompt", prompt}, {"sample", text}});
      observer_.on_sample(session.state.step, {prompt, text, chat_purpose_of(recipe_.objective.kind).has_value()});
    }
  }
  processes_.barrier();
}

void Trainer::save_now(Session& session) {
  if (session.saved_step == session.state.step) return;
  const std::filesystem::path folder = checkpoint_folder(run_folder_, session.state.step);
  if (processes_.rank() == 0) session.metrics->sync();
  save_checkpoint(folder, *session.model, session.adapter.get(), *session.optimizer, session.memory, session.state,
                  source_->tokenizer_folder(), processes_);
  session.saved_step = session.state.step;
  if (processes_.rank() == 0) {
    remove_old_checkpoints(run_folder_, recipe_.checkpoints.keep_last, recipe_.checkpoints.keep_best,
                           session.state.best_step);
    write_plot(run_folder_ / "metrics.jsonl", run_folder_ / "curves.svg", recipe_.run.name);
    observer_.on_checkpoint(session.state.step, folder);
  }
  processes_.barrier();
}

}  // namespace fledge::train
