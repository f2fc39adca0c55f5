#pragma once

#include <span>

#include "models/adapters/model_adapter.h"
#include "models/model_io.h"

namespace fledge::models {

/// How a merge changed a model.
struct MergeReport {
  int64_t layers = 0;            ///< changed
  double relative_change = 0.0;  ///< ||merged - base|| / ||base|| over all of them
};

/// Adds the changes of a model's adapters, each times its weight, to the weights, which must be f32 or f64 and not kept
/// as they are stored; then switches the adapters off. The model computes the same as before, up to rounding.
MergeReport merge_adapters(LoadedModel& loaded);

/// What storing merged weights in a quantized file loses.
struct QuantizationLoss {
  double relative_error = 0.0;   ///< ||stored - merged|| / ||merged|| over the changed layers
  double share_of_change = 0.0;  ///< ||stored - merged|| / ||merged - base||: from 1 on the change drowns in the error
};

/// Compares the changed layers of a merged model with what a file holds of them. `base` is the model before.
QuantizationLoss measure_loss(const LoadedModel& merged, const std::filesystem::path& file,
                              const std::filesystem::path& base);

}  // namespace fledge::models
