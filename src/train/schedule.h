#pragma once

#include <cstdint>

#include "train/recipe.h"

namespace fledge::train {

/// The learning rate over a run, as a multiple of the highest one.
///
/// Steps count from 0. During W warm-up steps the multiplier of step s is (s + 1) / W, so that the first step learns
/// something and step W - 1 stands at the top. After it, with D decay steps, minimum m and p = (s - start) / D in [0,
/// 1]:
///   cosine    m + (1 - m) (1 + cos(pi p)) / 2, start = W        (Loshchilov and Hutter, "SGDR", 2017)
///   linear    1 - (1 - m) p, start = W
///   constant  1
///   wsd       1 until start = N - D, then m + (1 - m) (1 - sqrt(p))
///             (warm-up, stable, decay; the shape of the fall from Haegele et al., "Scaling Laws and Compute-Optimal
///             Training Beyond Fixed Training Durations", 2024, section 4)
/// Beyond the decay the multiplier stays at m.
class Schedule {
 public:
  enum class Kind : uint8_t { cosine, linear, constant, wsd };

  /// Throws UsageError where warm-up and decay are longer than the run. `decay_steps` 0: all steps after the warm-up;
  /// for wsd a fifth of all steps (but not more than there are after the warm-up).
  Schedule(Kind kind, int64_t total_steps, int64_t warmup_steps, int64_t decay_steps, double min_ratio);

  /// The schedule of a recipe whose number of steps is `total_steps`.
  static Schedule of(const Recipe& recipe, int64_t total_steps);

  double multiplier(int64_t step) const;

 private:
  Kind kind_;
  int64_t total_steps_, warmup_steps_, decay_steps_;
  double min_ratio_;
};

}  // namespace fledge::train
