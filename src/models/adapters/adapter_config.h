#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::models {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterWeightsFile = "adapter_model.safetensors";

/// What an adapter is: PEFT's adapter_config.json of the kind LORA. Settings of PEFT that change what is computed and
/// that fledge has not are errors, never passed over.
struct AdapterConfig {
  int64_t rank = 8;
  double alpha = 8.0;
  double dropout = 0.0;
  bool use_rslora = false;  ///< scale alpha / sqrt(rank) (Kalajdzievski, "A rank stabilization scaling factor", 2023)
  bool use_dora = false;
  /// Names of modules or their last parts; or one regular expression for the whole name; or "all-linear".
  std::vector<std::string> target_modules;
  std::string target_pattern;
  std::vector<std::string> exclude_modules;
  std::string exclude_pattern;
  std::vector<int64_t> layers;  ///< only these (layers_to_transform); empty: all
  std::vector<std::string> layers_patterns;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;  ///< regular expressions of the ends of names, in order
  std::vector<std::pair<std::string, double>> alpha_pattern;
  bool fan_in_fan_out = false;  ///< as PEFT writes it; what a layer's weight looks like is known from the model
  std::string base_model;       ///< base_model_name_or_path
  std::string task_type;        ///< "CAUSAL_LM", ... or empty

  /// Throws Error naming `origin` and the key where a value is missing, wrong or not supported.
  static AdapterConfig from_json(const base::Json& json, const std::string& origin);
  /// The file of a folder.
  static AdapterConfig read(const std::filesystem::path& folder);
  base::Json to_json() const;

  int64_t rank_of(const std::string& module) const;
  /// alpha / rank, or alpha / sqrt(rank).
  double scale_of(const std::string& module) const;
};

/// Whether a regular expression is the whole of a module's name (Python's re.fullmatch), or an end of it that begins at
/// its first character or behind a point. Throws Error naming `origin` for a bad expression.
bool is_whole_name(const std::string& regex, const std::string& module, const std::string& origin);
bool is_end_of_name(const std::string& regex, const std::string& module, const std::string& origin);

}  // namespace fledge::models
