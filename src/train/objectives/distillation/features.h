#pragma once

#include <map>
#include <string>

#include "models/language_model.h"

namespace fledge::train {

/// Picks named values out of a model's forward pass through its taps. A point that is asked for by no name costs
/// nothing.
class FeatureCollector {
 public:
  /// A point of the model ("blocks.3.resid_post"), or "hidden": what the forward pass returns.
  void want(const std::string& name) { values_[name]; }
  bool wants_any() const { return !values_.empty(); }

  /// Makes `input` hand over the values of its next forward pass. The collector must stay where it is until then.
  void attach(models::ForwardInput& input);
  /// Keeps the result of the pass, for "hidden".
  void finish(const models::ForwardOutput& output);
  /// Throws Error where the model has no such point.
  const grad::Variable& at(const std::string& name) const;

 private:
  std::map<std::string, grad::Variable> values_;
};

/// Names of the points that distillation compares.
std::string hidden_point(int64_t block);
std::string projection_point(int64_t block);
inline constexpr const char* kEmbeddingPoint = "blocks.0.resid_pre";
inline constexpr const char* kLastHidden = "hidden";

}  // namespace fledge::train
