#include "train/schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fledge::train {
namespace {

constexpr double kPi = 3.14159265358979323846;

Schedule::Kind kind_of(const std::string& name) {
  if (name == "cosine") return Schedule::Kind::cosine;
  if (name == "linear") return Schedule::Kind::linear;
  if (name == "constant") return Schedule::Kind::constant;
  if (name == "wsd") return Schedule::Kind::wsd;
  throw base::UsageError("schedule.kind is \"{}\", but must be cosine, linear, constant or wsd", name);
}

}  // namespace

Schedule::Schedule(Kind kind, int64_t total_steps, int64_t warmup_steps, int64_t decay_steps, double min_ratio)
    : kind_(kind),
      total_steps_(total_steps),
      warmup_steps_(warmup_steps),
      decay_steps_(decay_steps),
      min_ratio_(min_ratio) {
  if (total_steps < 1 || warmup_steps < 0 || decay_steps < 0 || warmup_steps > total_steps ||
      decay_steps > total_steps - warmup_steps)
    throw base::UsageError("a schedule of {} steps cannot hold {} steps of warm-up and {} of decay", total_steps,
                           warmup_steps, decay_steps);
  if (decay_steps_ == 0) {
    const int64_t after_warmup = total_steps - warmup_steps;
    decay_steps_ = kind == Kind::wsd ? std::min(after_warmup, (total_steps + 4) / 5) : after_warmup;
  }
}

Schedule Schedule::of(const Recipe& recipe, int64_t total_steps) {
  return {kind_of(recipe.schedule.kind), total_steps, recipe.warmup_steps(total_steps), recipe.schedule.decay_steps,
          recipe.schedule.min_ratio};
}

double Schedule::multiplier(int64_t step) const {
  if (step < warmup_steps_) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps_);
  if (kind_ == Kind::constant) return 1.0;
  const int64_t start = kind_ == Kind::wsd ? total_steps_ - decay_steps_ : warmup_steps_;
  if (step < start) return 1.0;
  if (step - start >= decay_steps_) return min_ratio_;
  const double progress = static_cast<double>(step - start) / static_cast<double>(decay_steps_);
  double height = 1.0 - progress;
  if (kind_ == Kind::cosine) height = 0.5 * (1.0 + std::cos(kPi * progress));
  if (kind_ == Kind::wsd) height = 1.0 - std::sqrt(progress);
  return min_ratio_ + (1.0 - min_ratio_) * height;
}

}  // namespace fledge::train
