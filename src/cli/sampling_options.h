#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fledge::cli {

class Verb;

/// How the next token is chosen, and when to stop; the same flags for generate and chat.
struct SamplingOptions {
  int64_t max_tokens = 256;
  double temperature = 0.8;  ///< 0: always the likeliest token
  int64_t top_k = 0;         ///< 0: no limit
  double top_p = 1.0;
  double min_p = 0.0;
  std::optional<uint64_t> seed;  ///< nothing: another one each time
  std::vector<std::string> stop;
  std::string precision = "auto";  ///< "auto", "bf16", "f32"
};

/// Adds --max-tokens, --temperature, --top-k, --top-p, --min-p, --seed, --stop and --dtype.
void add_sampling_options(Verb verb, SamplingOptions& options);

/// Adds --dtype with the arithmetic of a verb that runs a model.
void add_precision_option(Verb verb, std::string& precision, const std::string& fallback);

}  // namespace fledge::cli
