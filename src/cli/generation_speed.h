#pragma once

#include <cstdint>
#include <span>

#include "infer/batch_scheduler.h"

namespace fledge::cli {

/// Tokens per second, of all sequences together.
struct GenerationSpeed {
  double prompt = 0, decode = 0;
};

/// Reads `batch` random prompts, then makes text for all of them, greedily. `vocabulary`: the ids of a prompt's tokens
/// are below it. The sequences go through `adapters` in turn, or through none where there are none.
GenerationSpeed measure_generation(infer::BatchScheduler& scheduler, int64_t batch, int64_t prompt_tokens, int64_t made,
                                   int64_t vocabulary, std::span<const grad::AdapterIdentity* const> adapters = {});

}  // namespace fledge::cli
