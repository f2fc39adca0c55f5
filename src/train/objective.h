#pragma once

#include <memory>
#include <string>

#include "models/language_model.h"
#include "train/data/batch.h"

namespace fledge::train {

/// What one micro-batch contributes to an objective.
struct ObjectiveResult {
  grad::Variable loss;          ///< already multiplied by the scale; backward() starts here
  tensor::Tensor token_losses;  ///< [B * T], unscaled; 0 where ignored
};

/// A term of what training minimises, over a model's outputs on a batch.
class Objective {
 public:
  virtual ~Objective() = default;
  /// `scale` is one over the number of target tokens of the whole step (all micro-batches and processes), so that
  /// accumulated gradients equal those of the large batch.
  virtual ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                                   double scale) const = 0;
};

/// Cross-entropy of the next token.
class NextToken : public Objective {
 public:
  ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                           double scale) const override;
};

/// The objective that a recipe names ("next_token"). Throws UsageError for another name.
std::unique_ptr<Objective> make_objective(const std::string& kind);

/// What a model reads of a batch.
models::ForwardInput forward_input(const Batch& batch);

}  // namespace fledge::train
