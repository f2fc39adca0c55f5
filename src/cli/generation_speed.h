#pragma once

#include <cstdint>

#include "infer/batch_scheduler.h"

namespace fledge::cli {

/// Tokens per second, of all sequences together.
struct GenerationSpeed {
  double prompt = 0, decode = 0;
};

/// Reads `batch` random prompts, then makes text for all of them, greedily. `vocabulary`: the ids of a prompt's tokens
/// are below it.
GenerationSpeed measure_generation(infer::BatchScheduler& scheduler, int64_t batch, int64_t prompt_tokens, int64_t made,
                                   int64_t vocabulary);

}  // namespace fledge::cli
