#pragma once

#include "train/objective.h"

namespace fledge::train {

/// Cross-entropy of the next token, in nats.
class NextToken : public Objective {
 public:
  ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                           double scale) const override;
};

}  // namespace fledge::train
