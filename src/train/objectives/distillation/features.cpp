#include "train/objectives/distillation/features.h"

#include "base/error.h"

namespace fledge::train {

void FeatureCollector::attach(models::ForwardInput& input) {
  if (values_.empty()) return;
  input.tap = [this](const std::string& name, const grad::Variable& value) {
    if (const auto found = values_.find(name); found != values_.end()) found->second = value;
    return value;
  };
}

void FeatureCollector::finish(const models::ForwardOutput& output) {
  if (const auto found = values_.find(kLastHidden); found != values_.end()) found->second = output.hidden;
}

const grad::Variable& FeatureCollector::at(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || !found->second) throw base::Error("the model has no value named {}", name);
  return found->second;
}

std::string hidden_point(int64_t block) {
  return fmt::format("blocks.{}.resid_post", block);
}

std::string projection_point(int64_t block) {
  return fmt::format("blocks.{}.attn.qkv", block);
}

}  // namespace fledge::train
