#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "models/language_model.h"
#include "nn/memory.h"
#include "tensor/process_group.h"
#include "train/data/batch.h"
#include "train/data/batch_source.h"
#include "train/recipe.h"

namespace fledge::train {

/// Numbers that are added up over micro-batches, processes and the batches of an evaluation, by name.
using Sums = std::map<std::string, std::vector<double>>;
/// What is made of them.
using Metrics = std::map<std::string, double>;

/// Adds `more` to `sums`. Throws Error where a name has other lengths.
void add_sums(Sums& sums, const Sums& more);

/// What one micro-batch contributes to an objective.
struct ObjectiveResult {
  grad::Variable loss;          ///< already multiplied by the scale; backward() starts here
  tensor::Tensor token_losses;  ///< unscaled loss of every target, or place; 0 where there is nothing to learn
  Sums sums;                    ///< of anything else that is worth showing
};

/// What an objective may use before the first step.
struct RunContext {
  models::LanguageModel& model;  ///< with the values that training starts from, also where a run is resumed
  nn::Memory& memory;
  tensor::DType activation_type;
  const BatchSource& source;
  int64_t rows;                  ///< of a micro-batch
  std::filesystem::path folder;  ///< of the run
  tensor::ProcessGroup& processes;
};

/// What training minimises, over a model's outputs on a batch.
class Objective {
 public:
  virtual ~Objective() = default;

  /// Changes the config.json of the model that training starts from ("num_labels", another head).
  virtual void adapt_config(base::Json& /*config*/) const {}
  /// Whether the starting model's file may lack this parameter, which then begins as in a new model.
  virtual bool may_be_new(std::string_view /*parameter*/) const { return false; }
  /// Adds what is trained beside the model and is no part of it (ParameterOptions::auxiliary), before there is memory.
  virtual void add_parameters(models::LanguageModel& /*model*/) {}
  /// Called once the model's values are there, before the first step, and not on the shape-only device: the place to
  /// load a teacher or to compute what a frozen model says of the data.
  virtual void start(models::LanguageModel& /*model*/, const BatchSource& /*source*/) {}
  /// The same with all that there is; calls start().
  virtual void begin(const RunContext& run) { start(run.model, run.source); }

  /// What a user should know once start() is through.
  virtual std::vector<std::string> notes() const { return {}; }

  /// Bytes that it holds beside the model's own memory: a teacher's. On the shape-only device, what it will hold.
  virtual size_t held_bytes() const { return 0; }

  /// Called before every step with this process's micro-batches, of which batches[i] begins with the sample
  /// first_samples[i]: the place to write samples of the model's own into them. What is drawn must be a function of the
  /// run's seed, the step and the sample.
  virtual void before_step(models::LanguageModel& /*model*/, nn::Memory& /*memory*/, int64_t /*step*/,
                           std::span<Batch> /*batches*/, std::span<const int64_t> /*first_samples*/) {}

  /// `scale` is one over the number of targets of the whole step (all micro-batches and processes), so that accumulated
  /// gradients equal those of the large batch.
  virtual ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                   double scale) const = 0;

  /// Metrics of a step or an evaluation. Unless said otherwise a name's sums are a total and its weight, and the metric
  /// their quotient.
  virtual Metrics report(const Sums& sums) const;
  /// What an evaluation found beyond single numbers, as lines for people (a confusion matrix); empty where there is
  /// nothing.
  virtual std::string describe(const Sums& /*sums*/) const { return {}; }
};

/// The objective that a recipe names. Throws UsageError for an unknown one.
std::unique_ptr<Objective> make_objective(const Recipe& recipe, const BatchSource& source);

/// What a model reads of a batch.
models::ForwardInput forward_input(const Batch& batch);

}  // namespace fledge::train
