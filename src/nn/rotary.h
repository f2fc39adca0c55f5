#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::nn {

/// How rotary positions turn the heads of a model, as Hugging Face's `rope_parameters` (or the older `rope_theta` and
/// `rope_scaling`) say it.
struct RotarySettings {
  enum class Kind : uint8_t {
    plain,    ///< "default": Su et al., "RoFormer", 2021
    linear,   ///< positions divided by a factor (Chen et al., "Position interpolation", 2023)
    dynamic,  ///< a base that grows behind the model's context; the plain one within it, where fledge stays
    llama3,   ///< low frequencies divided by a factor, high ones kept, the ones between in between
    yarn      ///< Peng et al., "YaRN", 2023
  };
  Kind kind = Kind::plain;
  double theta = 10000.0;
  double factor = 1.0;
  int64_t original_context = 0;                                    ///< of llama3 and yarn
  double low_frequency_factor = 1.0, high_frequency_factor = 4.0;  ///< of llama3
  // Of yarn:
  std::optional<double> attention_factor;
  double beta_fast = 32.0, beta_slow = 1.0;
  double mscale = 0.0, mscale_all_dim = 0.0;  ///< 0: not given
  bool truncate = true;

  /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling`, of a config.json. `context` is the model's longest
  /// sequence. Throws Error naming `origin` where a kind is not known or a value is out of range.
  static RotarySettings from_json(const base::Json& config, int64_t context, const std::string& origin);
  /// Adds both forms to a config.json, so that new and old readers find theirs.
  void to_json(base::Json& config) const;
};

/// Angles per position of the D / 2 pairs of a head, and the factor of all cosines and sines.
struct RotaryFrequencies {
  std::vector<float> inverse;
  double attention_factor = 1.0;
};

/// `head_size` is even.
RotaryFrequencies rotary_frequencies(const RotarySettings& settings, int64_t head_size);

}  // namespace fledge::nn
